"""The root of the steps' errors, and those of what carries them: one line each, fit for a user."""

from collections.abc import Iterator


class TaskError(Exception):
    """Root of the steps' errors. The message is one line that a user can act on."""


class BackboneUnavailable(TaskError):
    """A backbone that is named here, or a GGUF file, of which no model folder can be made."""


class UnknownVersion(TaskError):
    """No version has this id, prefix or alias."""


class ServerProblem(TaskError):
    """The Prefect server of a run does not come up."""


class GateBlocked(TaskError):
    """The gate fails whatever is edited: for a suite, a cache or a backbone, not for a job's edits."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came from, and so on."""
    visited: set[int] = set()
    while error is not None and id(error) not in visited:
        yield error
        visited.add(id(error))
        error = error.__cause__ or error.__context__
