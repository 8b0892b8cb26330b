"""Which shapes there are: the built-in ones, and those of other packages.

Another package adds one by an entry point of the group `melo.shapes` that names a `Shape`:

    [project.entry-points."melo.shapes"]
    ours = "our_package.feedback:SHAPE"
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from tasks.ingest.errors import IngestError
from tasks.ingest.shapes import (
    argilla,
    hugging_face,
    label_studio,
    langfuse,
    langsmith,
    mlflow_traces,
    open_webui,
    openai_files,
    renamed,
    sharegpt,
)
from tasks.ingest.shapes.shape import Row, Shape
from tasks.ingest.shapes.values import names_in

GROUP = "melo.shapes"
# The order in which a row is offered to them: what has more of a mark of its own comes first.
BUILT_IN = (
    langfuse.SHAPE,
    langsmith.SHAPE,
    mlflow_traces.SHAPE,
    open_webui.SHAPE,
    label_studio.SHAPE,
    openai_files.SHAPE,
    sharegpt.SHAPE,
    argilla.SHAPE,
    hugging_face.SHAPE,
)


@cache
def shapes() -> tuple[Shape, ...]:
    """Every shape, those of other packages first, since they know their rows best.

    Raises IngestError for an entry point that can't be loaded, is no Shape, or takes a name twice.
    """
    plugins = []
    taken = {shape.name for shape in BUILT_IN}
    for entry in entry_points(group=GROUP):
        try:
            shape = entry.load()
        except Exception as error:
            raise IngestError(
                f"shape {entry.name!r} ({entry.value}) can't be loaded: {error}. "
                "Repair or uninstall the package that has it."
            ) from error
        if not isinstance(shape, Shape):
            raise IngestError(
                f"the entry point {entry.name!r} of {GROUP} names {entry.value}, which is no "
                "tasks.ingest.shapes.Shape."
            )
        if shape.name in taken:
            raise IngestError(f"two shapes are named {shape.name!r}; {entry.value} is the second.")
        taken.add(shape.name)
        plugins.append(shape)
    return (*plugins, *BUILT_IN)


def shape_named(name: str) -> Shape:
    """The shape of this name. Raises IngestError, naming those that exist."""
    by_name = {shape.name: shape for shape in shapes()}
    if name not in by_name:
        names = ", ".join(sorted(by_name))
        raise IngestError(f"no shape {name!r}. There are: {names}. See `melo ingest --shapes`.")
    return by_name[name]


def recognised(row: Row) -> Shape | None:
    """The shape of a row; None where it is an error report or a fact as it stands."""
    if ("prompt" in row and "target" in row) or "relation" in row:
        return None
    if renamed.SHAPE.recognises(row):
        names = names_in(row, renamed.NAMES)
        if {"prompt", "target"} <= names or "relation" in names:
            return renamed.SHAPE
    for shape in shapes():
        page = row.get(shape.page) if shape.page else None
        first = page[0] if isinstance(page, list) and page else row
        if isinstance(first, dict) and shape.recognises(first):
            return shape
    return renamed.SHAPE if renamed.SHAPE.recognises(row) else None
