"""What can go wrong with an input before its first line is read."""


class IngestError(Exception):
    """A path or preset that can't be used; the message says which and what to do."""
