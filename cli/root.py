"""The commands of `melo`, each imported when it is called; those of other packages are plugged in."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer._click.core import Context
from typer.core import TyperGroup

from console.context import state
from console.errors import UsageProblem
from console.plugins import GROUP, one_line_help, plugged_in


class Command(NamedTuple):
    """A command: its line in the help, and the module whose `app` it is.

    distribution: what brings it by an entry point, where it is no part of the product.
    """

    help: str
    module: str = ""
    distribution: str = ""


BENCHMARKS = "melo-benchmarks"
COMMANDS: dict[str, Command] = {
    "init": Command("Make a home: melo.toml and an empty ledger.", "cli.home.init"),
    "demo": Command("The whole story on small examples, with real parts.", distribution=BENCHMARKS),
    "ingest": Command("Take error reports and fresh facts into the ledger.", "cli.reports.ingest"),
    "run": Command("The main job once: ingest, plan, edit, gate, register.", "cli.home.run"),
    "status": Command("Where every input line is.", "cli.home.status"),
    "edits": Command(
        "List, show and revoke edits; contradictions, near-duplicates.", "cli.edits.commands"
    ),
    "quarantine": Command("Lines that can't be used; try them again.", "cli.reports.quarantine"),
    "review": Command("Edits that wait for a person.", "cli.edits.review"),
    "sources": Command("Who reports, how trusted; block a source.", "cli.reports.sources"),
    "versions": Command("Versions of the edited model, their verdicts.", "cli.versions.commands"),
    "rollback": Command("Let an earlier version serve again, at once.", "cli.versions.rollback"),
    "revoke": Command("Take edits, or all of a source, out of the model.", "cli.edits.revoke"),
    "ask": Command("Ask a version, the champion or the backbone.", "cli.model.ask"),
    "backbone": Command("Prepare and check the frozen model.", "cli.model.backbone"),
    "gate": Command("Gate a version by hand.", "cli.versions.gate"),
    "suites": Command("Regression suites of your own.", "cli.versions.suites"),
    "serve": Command("Serve the champion over HTTP.", "cli.service.serve"),
    "keys": Command("Who may ask the service, report to it, run it.", "cli.service.keys"),
    "export": Command("Blocks of a version for other servers.", "cli.versions.export"),
    "dashboard": Command("Edit quality over time.", "cli.dashboard.pages"),
    "report": Command("The dashboards' overview as text or one HTML file.", "cli.dashboard.report"),
    "up": Command(
        "Start servers and workers on this machine; apply the schedules.", "cli.deployment.up"
    ),
    "down": Command("End what `melo up` started.", "cli.deployment.down"),
    "doctor": Command("What is wrong, and how to mend it.", "cli.home.doctor"),
    "bench": Command("The proof: measure quality and speed.", distribution=BENCHMARKS),
}


class LazyGroup(TyperGroup):
    """Imports a command's module when it is called, so that `melo status` never loads torch."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Commands in the order of the table, then those of other packages; none that is missing."""
        plugins = plugged_in()
        here = [name for name, entry in COMMANDS.items() if entry.module or name in plugins]
        return here + sorted(set(plugins) - set(COMMANDS))

    def get_command(self, ctx: Context, cmd_name: str) -> Any:
        """One command, imported now."""
        app = _app(cmd_name)
        if app is None:
            return None
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Context, formatter: Any) -> None:
        """Help without importing anything."""
        plugins = plugged_in()
        rows = [
            (name, COMMANDS[name].help if name in COMMANDS else one_line_help(plugins[name]))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _app(name: str) -> typer.Typer | None:
    """The app of a command, None where there is none of that name.

    Raises UsageProblem for a command whose package is not installed or can't be loaded.
    """
    entry = COMMANDS.get(name)
    if entry is not None and entry.module:
        app: typer.Typer = importlib.import_module(entry.module).app
        return app
    plugin = plugged_in().get(name)
    if plugin is not None:
        return _load(plugin)
    if entry is not None:
        raise UsageProblem(
            f"`melo {name}` comes with {entry.distribution}, which is not installed. In a checkout: "
            f"make install, or pip install ./benchmarks; elsewhere: pip install {entry.distribution}."
        )
    return None


def _load(entry: EntryPoint) -> typer.Typer:
    """Import a command. Raises UsageProblem where that fails or where it is no typer app."""
    try:
        loaded = entry.load()
    except (ImportError, AttributeError) as error:
        raise UsageProblem(
            f"`melo {entry.name}` can't be loaded from {entry.value}: {error}. Install its package again."
        ) from error
    if not isinstance(loaded, typer.Typer):
        raise UsageProblem(
            f"the entry point {entry.name!r} of {GROUP} names {entry.value}, which is no typer app."
        )
    return loaded


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def _main(
    ctx: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="Where state lives.", envvar="MELO_HOME")
    ] = None,
) -> None:
    """Keep a deployed language model right: error reports in, gated and registered edits out."""
    state(ctx).home = home or Path(".melo")
