"""Output in any encoding: a character that it lacks becomes an escape, never an error."""

from __future__ import annotations

import codecs
import sys
from typing import Any


class Escaping:
    """A text stream without a binary side.

    Typer takes a terminal of plain ASCII for a wrong setting and writes UTF-8 past it, into the
    stream's buffer. Where there is none it writes text.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)


def escape_unencodable() -> None:
    """Let stdout and stderr escape the characters that their encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, Escaping) or not hasattr(stream, "reconfigure"):
            continue
        stream.reconfigure(errors="backslashreplace")
        if codecs.lookup(stream.encoding or "ascii").name == "ascii":
            setattr(sys, name, Escaping(stream))


def takes_everything() -> bool:
    """Whether stdout can show every character; JSON is written in escapes otherwise."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return codecs.lookup(encoding).name.startswith("utf-")
