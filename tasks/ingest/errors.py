"""What can go wrong with an input."""


class IngestError(Exception):
    """A path or preset that can't be used; the message says which and what to do."""


class UnpacksTooLarge(Exception):
    """A file that holds more bytes than is allowed: read up to there, the rest is left."""

    def __init__(self, max_file_bytes: int) -> None:
        super().__init__(f"it unpacks to more than {max_file_bytes} bytes")
