"""Which errors are the user's to mend: those that one of our `errors` modules defines."""

from __future__ import annotations

OURS = {
    "melo_engine", "ledger", "config", "tasks", "flows", "serving", "dashboards", "cli", "benchmarks"
}  # fmt: skip


class UsageProblem(Exception):
    """Something wrong with what was asked of the command itself."""


def one_line(error: BaseException) -> str:
    """What a wrong command line's error says."""
    say = getattr(error, "format_message", None)
    return " ".join(str(say() if say else error).split())


def known_error(error: BaseException) -> str | None:
    """One line for a known error; None where it is a bug.

    Classes are known by the module that defines them, so that nothing is imported here that the
    command has not imported itself.
    """
    for kind in type(error).__mro__:
        place = kind.__module__.split(".")
        if place[0] in OURS and place[-1] == "errors":
            return " ".join(str(error).split())
    named = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
    if named and getattr(error, "filename", None):
        return f"{getattr(error, 'filename', '')}: {getattr(error, 'strerror', '')}."
    return None
