"""The errors of the steps: one tree, one line each, fit to be shown to a user."""


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
