"""`melo`: runs a command. A known error is one line on stderr and exit code 2; only a bug a traceback."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import sys
from pathlib import Path

import typer

from cli.root import app
from console import signals
from console.context import State
from console.encoding import escape_unencodable
from console.errors import known_error, one_line


def run(arguments: list[str] | None = None) -> None:
    """The command line. Known errors become one line and exit code 2."""
    from config.environment import exempt_loopback

    exempt_loopback(os.environ)
    escape_unencodable()
    here = State(Path(".melo"))
    try:
        code = _run(arguments, here)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        code = 0
    except OSError as error:  # the output itself can't be written
        code = _report_error(error, here)
        _drop_output()
    except BaseException:
        if signals.exit_code() is None:
            raise
        code = 0
    if (stopped := signals.exit_code()) is not None:
        print(signals.STOPPED, file=sys.stderr)
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
        elif message := one_line(error):
            print(f"melo: {message}", file=sys.stderr)
        return 2
    except (typer.Abort, KeyboardInterrupt):
        if signals.exit_code() is None:
            print(signals.STOPPED, file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        return _report_error(error, here)


def _report_error(error: Exception, here: State) -> int:
    """Print a known error as one line and return the exit code; raise a bug again, with its traceback."""
    if signals.exit_code() is not None:
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


NEEDED = ("duckdb", "mlflow", "prefect", "pydantic_settings")


def script() -> None:
    """The console script. Ends without taking the interpreter apart.

    What was registered to run at the end runs (Prefect's server stops); after that DuckDB, torch and
    MLflow would report each other's leftovers on stderr.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:  # the engine alone was installed
        print(
            f"melo: {', '.join(missing)} not installed; the engine alone needs none of it, the commands "
            "do. Install the pipeline: pip install 'melo-pipeline[pipeline]'",
            file=sys.stderr,
        )
        sys.exit(2)
    signals.listen()
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
    os._exit(signals.exit_code() or (code if isinstance(code, int) else 0))


if __name__ == "__main__":
    script()
