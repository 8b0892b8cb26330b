"""The errors of the gate: one line each. A faulty version is no error: it fails the gate."""

from __future__ import annotations

from execution.errors import TaskError


class SuiteError(TaskError):
    """A suite cannot be read or written as asked."""


class ThresholdError(TaskError):
    """The thresholds say something that has no meaning."""


class CacheError(TaskError):
    """The cache of answers cannot be opened."""
