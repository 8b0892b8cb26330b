"""The errors of the steps: one tree, one line each, fit to be shown to a user."""

from collections.abc import Iterator


class TaskError(Exception):
    """Root of the steps' errors. The message is one line that a user can act on."""


class BackboneUnavailable(TaskError):
    """A backbone that is named here, or a GGUF file, of which no model folder can be made."""


class UnknownVersion(TaskError):
    """No version has this id, prefix or alias."""


class NotPromotable(TaskError):
    """A version without a passed gate for its very content, or one that was overtaken."""


class NotDeletable(TaskError):
    """A version that something else stands on."""


class ServerProblem(TaskError):
    """The Prefect server of a run does not come up."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came from, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
