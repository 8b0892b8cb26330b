"""Every error of the benchmarks: one tree. A message says what was got, what is allowed, what to do."""


class BenchError(Exception):
    """Root of the benchmarks' errors."""


class UnknownMethod(BenchError):
    """A method of another name, or one that does not fit the backbone."""


class DataError(BenchError):
    """A file that the protocol can't use."""


class RecordError(BenchError):
    """A record that can't be read."""
