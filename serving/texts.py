"""Text of growing answers: what of it is settled, where it stops, what one token of it says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from transformers.convert_slow_tokenizer import bytes_to_unicode

BROKEN = "\ufffd"  # what a decoder writes for a character of which bytes are missing
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def text_of(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Text of generated tokens, without special ones and without space before it."""
    return str(tokenizer.decode(tokens, skip_special_tokens=True)).lstrip()


class GrowingText:
    """Text of tokens as they come: only the last few are decoded, so that long answers cost no more.

    decode_all: decode all of them each time, as earlier text may change when more follows. stable: how
    many characters the next token can't change. It can change a run of byte tokens: the decoder writes
    all of them as broken if the last one does not complete a character.
    """

    def __init__(self, tokenizer: Any, *, decode_all: bool) -> None:
        self.tokenizer, self.decode_all = tokenizer, decode_all
        self._settled = ""  # text of the first `_done` tokens, of which the last ones are context
        self._context = self._done = 0
        self.stable = 0

    def of(self, tokens: Sequence[int]) -> str:
        """The text of all tokens so far. tokens: those of the last call and some more."""
        if self.decode_all:
            text = text_of(self.tokenizer, tokens)
            self.stable = len(text)
            return text
        before = self._decoded(tokens[self._context : self._done])
        now = self._decoded(tokens[self._context :])
        text = self._settled + now[len(before) :]
        run = bool(_BYTE.fullmatch(str(self.tokenizer.convert_ids_to_tokens(tokens[-1]))))
        if not now.endswith(BROKEN) and not run:
            self._settled, self._context, self._done = text, self._done, len(tokens)
        self.stable = len(trimmed(self._settled.lstrip()) if run else text.lstrip())
        return text.lstrip()

    def _decoded(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)) if tokens else ""


def trimmed(text: str) -> str:
    """An answer's text at its end: no space behind it, no character that was cut in the middle."""
    end = len(text)
    while end and (text[end - 1] == BROKEN or text[end - 1].isspace()):
        end -= 1
    return text[:end]


def stop_at(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop text begins, None where there is none."""
    places = [at for stop in stops if (at := text.find(stop)) >= 0]
    return min(places, default=None)


def settled(text: str, stops: Sequence[str], whole_words: bool) -> int:
    """How many characters of a growing text will not change any more.

    Its end may be half a character, space that goes if nothing follows, or the beginning of a stop text.
    whole_words: so may be its last word, as the tokenizer joins pieces to it.
    """
    until = len(trimmed(text))
    if whole_words:
        until = min(until, max(text.rfind(" "), text.rfind("\n")) + 1)
    for stop in stops:
        for size in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:size]):
                until = min(until, len(text) - size)
                break
    return until


def joins_words(tokenizer: Any) -> bool:
    """Whether what was decoded may change when more follows: space before punctuation goes."""
    if getattr(tokenizer, "clean_up_tokenization_spaces", False) or not tokenizer.is_fast:
        return True
    decoder = repr(tokenizer.backend_tokenizer.decoder)
    return "WordPiece" in decoder or "CTC" in decoder


def kept_tokens(tokenizer: Any, tokens: Sequence[int], length: int) -> int:
    """How many of the tokens make up the first `length` characters of their text."""
    for count in range(len(tokens)):
        if len(text_of(tokenizer, tokens[:count])) >= length:
            return count
    return len(tokens)


def bytes_of(tokenizer: Any, token: int) -> bytes:
    """What one token writes, as UTF-8; it may be part of a character."""
    piece = str(tokenizer.convert_ids_to_tokens(token))
    if byte := _BYTE.fullmatch(piece):
        return bytes([int(byte[1], 16)])
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if "ByteLevel" in repr(getattr(backend, "decoder", None)):
        table = byte_letters()
        if all(letter in table for letter in piece):
            return bytes(table[letter] for letter in piece)
    return piece.replace("\u2581", " ").encode("utf-8", "replace")


@cache
def byte_letters() -> dict[str, int]:
    """The byte that each letter stands for in byte-level vocabularies (GPT-2's table)."""
    return {letter: byte for byte, letter in bytes_to_unicode().items()}
