from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from text import decode, encoding_of, read_text

SAID = '{"a": "Müller — 東京 😀"}'


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (b"", "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
    ],
)
def test_what_bytes_tell_of_themselves_is_read(mark: bytes, name: str, tmp_path: Path) -> None:
    data = mark + SAID.encode(name)
    assert encoding_of(data[:4]) == (name, len(mark))
    assert decode(data) == SAID
    (tmp_path / "a").write_bytes(data)
    assert read_text(tmp_path / "a") == SAID


@pytest.mark.parametrize("name", ["cp1252", "latin-1", "cp1250", "cp1251", "shift_jis", "gbk"])
def test_a_code_page_is_never_guessed(name: str) -> None:
    said = {"cp1251": "Норвик", "shift_jis": "東京", "gbk": "北京"}.get(name, "Müller")
    with pytest.raises(UnicodeDecodeError):
        decode(f'{{"a": "{said}"}}'.encode(name))
