"""Any file as a stream of UTF-8: unpacked, another encoding undone where its bytes tell it.

.gz, .zst      by their first bytes
UTF-16, UTF-32 by a byte order mark, or by the zero beside an ASCII character at the beginning
the rest       as it is: what is no UTF-8 there is told record by record, or read as the code page
               that `ingest.encoding` names
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from tasks.ingest.errors import UnpacksTooLarge
from text import encoding_of

BLOCK = 8 * 1024 * 1024
DAMAGE = (OSError, EOFError, zlib.error, pa.ArrowException, UnpacksTooLarge)  # for `lines.broken`
_UNREADABLE = "melo.unreadable"


def _as_bytes_that_utf8_refuses(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


codecs.register_error(_UNREADABLE, _as_bytes_that_utf8_refuses)


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacking gzip and zstd by their first bytes."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if magic == b"\x28\xb5\x2f\xfd":
        return cast(IO[bytes], pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
    return path.open("rb")


def open_utf8(path: Path) -> IO[bytes]:
    """The same, as UTF-8; what is no text of the encoding told becomes bytes that UTF-8 refuses."""
    try:
        with open_bytes(path) as file:
            name, mark = encoding_of(file.read(4))
    except DAMAGE:  # whoever reads the file will meet it again
        return open_bytes(path)
    if name == "utf-8":
        return open_bytes(path)
    file = open_bytes(path)
    file.read(mark)
    return cast(IO[bytes], _Transcoded(file, name))


class _Transcoded(io.RawIOBase):
    """A stream of another encoding, read as UTF-8."""

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)(_UNREADABLE)
        self._ended = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Some of it, more or fewer than `size` bytes; empty at the end only."""
        while not self._ended:
            block = self._file.read(size)
            self._ended = not block
            text = self._decoder.decode(block, self._ended)
            if text:
                return text.encode("utf-8", "surrogateescape")
        return b""

    def close(self) -> None:
        self._file.close()
        super().close()


def decoded(data: bytes, encoding: str | None, what: str = "the line") -> tuple[str, str | None]:
    """The text of bytes, UTF-8 or else in the code page `encoding`; and why they can't be read."""
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 at byte {error.start + 1} of {what}"
    if encoding is None:
        problem += "; read the file with --again and its --encoding, or save it as UTF-8"
    else:
        try:
            return data.decode(encoding), None
        except UnicodeDecodeError as error:
            problem += f", nor {encoding} at byte {error.start + 1}"
    return data.decode("utf-8", "backslashreplace"), problem


def text_blocks(file: IO[bytes], max_file_bytes: int) -> Iterator[str]:
    """Decode a stream block by block; bytes that are no UTF-8 stay in it, escaped (`bytes_of`)."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
    passed = 0
    while block := file.read(BLOCK):
        passed += len(block)
        if passed > max_file_bytes:
            raise UnpacksTooLarge(max_file_bytes)
        yield decoder.decode(block)
    yield decoder.decode(b"", True)


def bytes_of(text: str) -> bytes | None:
    """The bytes that a text of `text_blocks` was, where some are no UTF-8; else None."""
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return None
