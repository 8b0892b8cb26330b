"""Which errors are the user's to mend: each package's tree, named without importing it."""

from __future__ import annotations

# The root of each package's tree of errors. A class is looked up by its full name, so that
# nothing is imported that the command has not already imported.
ROOTS = {
    "ledger.errors.LedgerError",
    "config.errors.ConfigError",
    "tasks.ingest.errors.IngestError",
    "cli.errors.UsageProblem",
}
# Any class of this name in one of our packages, whichever file it is in.
ROOT_NAMES = {"MeloError", "TaskError", "StepError"}
OURS = {"melo_engine", "ledger", "config", "tasks", "flows", "serving", "dashboards", "cli"}


class UsageProblem(Exception):
    """Something wrong with what was asked of the command itself."""


def one_line(error: BaseException) -> str:
    """What a wrong command line's error says."""
    say = getattr(error, "format_message", None)
    return " ".join(str(say() if say else error).split())


def known_error(error: BaseException) -> str | None:
    """One line for a known error; None where it is a bug."""
    for kind in type(error).__mro__:
        full = f"{kind.__module__}.{kind.__qualname__}"
        ours = kind.__module__.split(".")[0] in OURS
        if full in ROOTS or (ours and kind.__qualname__ in ROOT_NAMES):
            return " ".join(str(error).split())
    if (
        isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
        and error.filename
    ):
        return f"{error.filename}: {error.strerror}."
    return None
