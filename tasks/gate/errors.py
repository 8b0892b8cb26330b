"""The errors of the gate: one tree, one line each. A faulty version is no error: it fails."""


class TaskError(Exception):
    """Root of the gate's errors. The message is one line that a user can act on."""


class SuiteError(TaskError):
    """A suite cannot be read or written as asked."""


class ThresholdError(TaskError):
    """The thresholds say something that has no meaning."""


class CacheError(TaskError):
    """The cache of answers cannot be opened."""
