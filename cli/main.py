"""`melo`: a flat list of commands, each imported when it is called.

A known error is one line on stderr and exit code 2; only a bug shows a traceback.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer._click.core import Context
from typer.core import TyperGroup

from cli import stopping
from cli.context import State, state
from cli.errors import known_error, one_line
from cli.terminal import say_what_can_be_said

# name: (module, attribute, one line of help). A module that is not there yet is left out.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "init": ("cli.init", "app", "Make a home: melo.toml and an empty ledger."),
    "demo": ("cli.demo", "app", "The whole story on small examples, with real parts."),
    "ingest": ("cli.ingest", "app", "Take error reports and fresh facts into the ledger."),
    "run": ("cli.run", "app", "The main job once: ingest, plan, edit, gate, register."),
    "status": ("cli.status", "app", "Where every input line is."),
    "edits": ("cli.edits", "app", "List, show and revoke edits; contradictions, near-duplicates."),
    "quarantine": ("cli.quarantine", "app", "Lines that can't be used; try them again."),
    "review": ("cli.review", "app", "Edits that wait for a person."),
    "sources": ("cli.sources", "app", "Who reports, how trusted; block a source."),
    "versions": ("cli.versions", "app", "Versions of the edited model, their verdicts."),
    "rollback": ("cli.rollback", "app", "Let an earlier version serve again, at once."),
    "revoke": ("cli.revoke", "app", "Take edits, or all of a source, out of the model."),
    "ask": ("cli.ask", "app", "Ask a version, the champion or the backbone."),
    "backbone": ("cli.backbone", "app", "Prepare and check the frozen model."),
    "gate": ("cli.gate", "app", "Gate a version by hand."),
    "suites": ("cli.suites", "app", "Regression suites of your own."),
    "serve": ("cli.serve", "app", "Serve the champion over HTTP."),
    "keys": ("cli.keys", "app", "Who may ask the service, report to it, run it."),
    "export": ("cli.export", "app", "Blocks of a version for other servers."),
    "dashboard": ("cli.dashboard", "app", "Edit quality over time."),
    "report": ("cli.report", "app", "The dashboards' overview as text or one HTML file."),
    "up": ("cli.up", "app", "Start servers and workers on this machine; apply the schedules."),
    "down": ("cli.down", "app", "End what `melo up` started."),
    "doctor": ("cli.doctor", "app", "What is wrong, and how to mend it."),
    "bench": ("cli.bench", "app", "The proof: measure quality and speed."),
}


class LazyGroup(TyperGroup):
    """Imports a command's module when it is called, so that `melo status` never loads torch."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Commands in the order of the list above."""
        return [name for name, (module, _, _) in COMMANDS.items() if _is_there(module)]

    def get_command(self, ctx: Context, cmd_name: str) -> Any:
        """One command, imported now."""
        entry = COMMANDS.get(cmd_name)
        if entry is None or not _is_there(entry[0]):
            return None
        app = getattr(importlib.import_module(entry[0]), entry[1])
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Context, formatter: Any) -> None:
        """Help without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in self.list_commands(ctx)])


def _is_there(module: str) -> bool:
    place = Path(__file__).parent / module.split(".")[-1]
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


app = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False,
)  # fmt: skip


@app.callback()
def _main(
    ctx: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="Where state lives.", envvar="MELO_HOME")
    ] = None,
) -> None:
    """Keep a deployed language model right: error reports in, gated and registered edits out."""
    state(ctx).home = home or Path(".melo")


def run(arguments: list[str] | None = None) -> None:
    """The command line. Known errors become one line and exit code 2."""
    from config.environment import past_proxies

    past_proxies(os.environ)
    say_what_can_be_said()
    here = State(Path(".melo"))
    try:
        code = _run(arguments, here)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        code = 0
    except OSError as error:  # the output itself can't be written
        code = _told(error, here)
        _drop_output()
    except BaseException:
        if stopping.code() is None:
            raise
        code = 0
    if (stopped := stopping.code()) is not None:
        print(stopping.SAID, file=sys.stderr)
        code = stopped
    sys.exit(code)


def _run(arguments: list[str] | None, here: State) -> int:
    """Run a command; its exit code."""
    try:
        code = app(args=arguments, standalone_mode=False, obj=here)
        return code if isinstance(code, int) else 0
    except typer.TyperException as error:
        if str(error).startswith("Usage:"):  # a group that was called without a command
            print(error)
        elif said := one_line(error):
            print(f"melo: {said}", file=sys.stderr)
        return 2
    except (typer.Abort, KeyboardInterrupt):
        if stopping.code() is None:
            print(stopping.SAID, file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        return _told(error, here)


def _told(error: Exception, here: State) -> int:
    """Say a known error in one line; a bug is raised again, with its traceback."""
    if stopping.code() is not None:
        return 2  # it comes of being told to end
    line = known_error(error, here.home)
    if line is None:
        raise error
    print(f"melo: {line}", file=sys.stderr)
    return 2


def _drop_output() -> None:
    """Let what can't be written go, so that the end of the process does not try again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def script() -> None:
    """The console script. Ends without taking the interpreter apart.

    What was registered to run at the end runs (Prefect's server stops); after that DuckDB, torch and
    MLflow would report each other's leftovers on stderr.
    """
    stopping.listen()
    code: object = 0
    try:
        run()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = 130
    with contextlib.suppress(BaseException):  # a signal, or an output that is gone
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(stopping.code() or (code if isinstance(code, int) else 0))


if __name__ == "__main__":
    script()
