"""Commands that other packages plug into `melo`, by an entry point of the group `melo.commands`.

    [project.entry-points."melo.commands"]
    bench = "benchmarks.commands.group:app"     # a typer app, imported when the command is called

What such a package raises from a module named `errors` is told in one line, as the product's own errors.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import typer

from console.errors import COMMANDS, UsageProblem


def plugged_in() -> dict[str, EntryPoint]:
    """The entry points of the packages that are installed, by the name of their command."""
    return {entry.name: entry for entry in entry_points(group=COMMANDS)}


def load_app(entry: EntryPoint) -> typer.Typer:
    """Import a command. Raises UsageProblem where that fails or where it is no typer app."""
    try:
        app = entry.load()
    except (ImportError, AttributeError) as error:
        raise UsageProblem(
            f"`melo {entry.name}` can't be loaded from {entry.value}: {error}. Install its package again."
        ) from error
    if not isinstance(app, typer.Typer):
        raise UsageProblem(
            f"the entry point {entry.name!r} of {COMMANDS} names {entry.value}, which is no typer app."
        )
    return app


def one_line_help(entry: EntryPoint) -> str:
    """What the package says of itself, so that nothing is imported for a list of commands."""
    return str(entry.dist.metadata["Summary"] or "") if entry.dist else ""
