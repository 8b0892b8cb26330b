"""Which characters bytes spell, told by the bytes alone.

    EF BB BF            UTF-8          FF FE 00 00    UTF-32       FF FE    UTF-16
                                       00 00 FE FF                 FE FF
    x 00 ..., 00 x ...  UTF-16 without a mark, where the text begins with an ASCII character
    anything else       UTF-8, or it can't be told

Code pages (Windows-1252, Latin-1 and their kin) are never guessed: the same bytes are "Dvořák" in one
and "Dvoøák" in another. Who has such files says so (`ingest.encoding`).
"""

from __future__ import annotations

import codecs
from pathlib import Path

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as UTF-16's mark does: looked for first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def encoding_of(head: bytes) -> tuple[str, int]:
    """The encoding that a text's first four bytes tell, and how many of them are its mark."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name, len(mark)
    if len(head) >= 2 and head[0] and not head[1]:
        return "utf-16-le", 0
    if len(head) >= 2 and not head[0] and head[1]:
        return "utf-16-be", 0
    return "utf-8", 0


def decode(data: bytes) -> str:
    """The text that bytes spell, without a byte order mark.

    Raises UnicodeDecodeError, a ValueError, where they are no text of the encoding that they tell.
    """
    name, mark = encoding_of(data[:4])
    return data[mark:].decode(name)


def read_text(path: Path) -> str:
    """The text of a file; line ends become newlines. Raises OSError, UnicodeDecodeError."""
    return decode(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
