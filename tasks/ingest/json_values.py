"""The values of a `.json` file: of one array, or one after another, each as it stands in the file.

    [{...}, {..., , ...}, {...}]
     record  marked        record

A value that is not JSON is one marked record with its place. Reading goes on after the bracket that
closes it, or at the next value that the rest of the array follows; where neither is there, the rest of
the file is one marked record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from config import IngestSettings
from registry.asking import first_line
from tasks.ingest.lines import KEPT_OF_LONG_LINE, Record, broken
from tasks.ingest.opening import BLOCK, DAMAGE, bytes_of, decoded, open_utf8, text_blocks

LONGEST = 8 * BLOCK  # characters in which a value must end
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r\ufeff]*")
_BRACKET = re.compile(r'"(?:[^"\\\n]|\\.)*"|["{}\[\]]')
_CLOSES = {"}": "{", "]": "["}
_MAY_BEGIN = re.compile(r"[,\n]\s*(?=\{)")
_AFTER_WORD = re.compile(r"[,\]\n]")


def read_json(path: Path, settings: IngestSettings) -> Iterator[Record]:
    """One record a value."""
    try:
        with open_utf8(path) as file:
            for text, problem in _values(_Window(text_blocks(file, settings.max_file_bytes))):
                data = bytes_of(text)
                if data is not None:
                    text, unreadable = decoded(data, settings.encoding)
                    problem = problem or unreadable
                yield text, problem
    except DAMAGE as error:
        yield "", broken(error)


class _Window:
    """The part of a text that is in memory, and how far it has been read."""

    def __init__(self, blocks: Iterator[str]) -> None:
        self._blocks = blocks
        self._lines = 1  # number of the line in which `text` begins
        self._column = 1
        self.text = ""
        self.place = 0
        self.ended = False

    def next_char(self) -> str:
        """The next character that is no white space, "" at the end."""
        while True:
            self.place = _end_of_space(self.text, self.place)
            if self.place < len(self.text):
                return self.text[self.place]
            if not self.more():
                return ""

    def more(self) -> bool:
        """Take the next block in, and let go of what was read; False at the end."""
        self._lines, self._column = self._position(self.place)
        self.text, self.place = self.text[self.place :], 0
        block = next(self._blocks, None)
        self.ended = block is None
        self.text += block or ""
        return not self.ended

    def where(self, place: int) -> str:
        """A place in the file, in words."""
        return "line {}, column {}".format(*self._position(place))

    def skip_rest(self) -> int:
        """Read to the end, keeping nothing; returns how many characters there were."""
        passed = len(self.text) - self.place
        for block in self._blocks:
            passed += len(block)
        self.text, self.place, self.ended = "", 0, True
        return passed

    def _position(self, place: int) -> tuple[int, int]:
        last = self.text.rfind("\n", 0, place)
        if last < 0:
            return self._lines, self._column + place
        return self._lines + self.text.count("\n", 0, place), place - last


def _values(window: _Window) -> Iterator[Record]:
    in_array = window.next_char() == "["
    window.place += in_array
    after_value = False
    while True:
        char = window.next_char()
        if not char:
            if in_array:
                yield "", "the file breaks off here: its array is not closed"
            return
        if in_array and char == "]":
            window.place += 1
            if window.next_char():
                rest = window.text[window.place : window.place + KEPT_OF_LONG_LINE]
                yield rest, "there is more after the end of the array"
            return
        if in_array and char == ",":
            if not after_value:
                yield ",", f"a value is missing at {window.where(window.place)}"
            window.place, after_value = window.place + 1, False
            continue
        end, problem = _value(window)
        if problem is not None:
            end = _end_of_invalid(window, in_array)
            if end < 0:
                raw = window.text[window.place : window.place + KEPT_OF_LONG_LINE]
                skipped = window.skip_rest()
                yield (
                    raw,
                    f"{problem}; it is not told where it ends: {skipped} characters are not read",
                )
                return
        yield window.text[window.place : end], problem
        window.place, after_value = end, True


def _value(window: _Window) -> tuple[int, str | None]:
    """Where the value here ends, or why it is no JSON."""
    while True:
        begin, size = window.place, len(window.text)
        room = not window.ended and size - begin <= LONGEST
        try:
            _, end = _DECODER.raw_decode(window.text, begin)
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated") or error.pos >= size - 16
            if not (room and cut):
                return begin, f"not JSON at {window.where(error.pos)}: {error.msg}"
        except (ValueError, RecursionError) as error:
            return begin, f"not JSON at {window.where(begin)}: {first_line(error)[:200]}"
        else:
            if end < size or window.ended:  # a number may go on in the next block
                return end, None
        window.more()


def _end_of_invalid(window: _Window, in_array: bool) -> int:
    """Where what is not JSON ends, as an index of the window's text; -1 where that can't be told."""
    while not window.ended and len(window.text) - window.place < BLOCK:
        window.more()
    while True:
        text, begin = window.text, window.place
        end = _balanced(text, begin) if text[begin] in "{[" else _word(text, begin)
        if end < 0 or not _may_end(text, end, in_array):
            end = _next_outer(text, begin + 1, in_array)
        if end >= 0 or window.ended or len(text) - begin > LONGEST:
            return end
        window.more()


def _balanced(text: str, begin: int) -> int:
    """The index after the bracket that closes the one here; -1 where brackets or quotes don't match."""
    opened: list[str] = []
    for bracket in _BRACKET.finditer(text, begin):
        sign = bracket.group()
        if sign == '"':
            return -1
        if sign in _CLOSES:
            if opened.pop() != _CLOSES[sign]:
                return -1
            if not opened:
                return bracket.end()
        elif sign in "{[":
            opened.append(sign)
    return -1


def _word(text: str, begin: int) -> int:
    match = _AFTER_WORD.search(text, begin + 1)
    return match.start() if match else len(text)


def _may_end(text: str, place: int, in_array: bool) -> bool:
    """Whether a value may end here."""
    place = _end_of_space(text, place)
    after = text[place : place + 1]
    if in_array and after == "]":
        return _end_of_space(text, place + 1) == len(text)
    return after in (("", ",") if in_array else ("", "{", "["))


def _next_outer(text: str, place: int, in_array: bool) -> int:
    """The index before the next outermost object that can be read on from; -1 if there is none."""
    for match in _MAY_BEGIN.finditer(text, place):
        if _is_outer(text, match.end(), in_array):
            return match.start()
    return -1


def _is_outer(text: str, place: int, in_array: bool) -> bool:
    for number in range(1000):
        try:
            _, end = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            return number > 0
        place = _end_of_space(text, end)
        after = text[place : place + 1]
        if not after or (not in_array and after == "{"):
            return True
        if after == "]":
            return in_array and _end_of_space(text, place + 1) == len(text)
        if after != ",":
            return False
        place = _end_of_space(text, place + 1)
    return True


def _end_of_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place
