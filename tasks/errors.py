"""The errors of the steps, beside those of what carries them."""

from execution.errors import TaskError


class NotPromotable(TaskError):
    """A version without a passed gate for its very content, or one that was overtaken."""


class NotDeletable(TaskError):
    """A version that something else stands on."""
