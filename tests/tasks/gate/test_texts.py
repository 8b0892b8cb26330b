"""Suites and thresholds as editors on other systems save them."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest

from tasks.gate.errors import SuiteError
from tasks.gate.suites.files import load_suite, read_rows
from tasks.gate.verdict.thresholds import Thresholds

MARKED = [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (b"", "utf-8")]
PROMPT = "Wo liegt Zürich\u2028genau?"  # a line separator, which JSON may hold as it is


@pytest.mark.parametrize(("mark", "encoding"), MARKED)
def test_a_suite_and_its_header_are_read_with_their_mark(
    tmp_path: Path, mark: bytes, encoding: str
) -> None:
    row = json.dumps({"prompt": PROMPT, "value": "CH"}, ensure_ascii=False)
    (tmp_path / "s.jsonl").write_bytes(mark + f"{row}\r\n".encode(encoding))
    (tmp_path / "s.yaml").write_bytes(mark + "expect: contains\r\nprobes: 1\r\n".encode(encoding))
    suite = load_suite(tmp_path, "s")
    assert (suite.problem, [probe.prompt for probe in suite.probes]) == ("", [PROMPT])
    assert suite.probes[0].expect.kind == "contains"


@pytest.mark.parametrize(("mark", "encoding"), MARKED)
def test_thresholds_are_read_with_their_mark(tmp_path: Path, mark: bytes, encoding: str) -> None:
    (tmp_path / "t.yaml").write_bytes(mark + "confidence: 0.9\r\n".encode(encoding))
    assert Thresholds.load(tmp_path / "t.yaml").confidence == 0.9


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"prompt": "a?", "value": Infinity}', "line 2: Infinity is no JSON value"),
        ('{"prompt": "a?", "prompt": "b?"}', 'line 2: the key "prompt" comes twice'),
        ("{bad", "line 2: no JSON object"),
    ],
)
def test_a_probe_that_can_be_read_in_two_ways_is_told(
    tmp_path: Path, line: str, reason: str
) -> None:
    (tmp_path / "s.jsonl").write_text(f'{{"prompt": "a?", "value": NaN}}\n{line}\n')
    with pytest.raises(SuiteError, match=reason):
        list(read_rows(tmp_path / "s.jsonl"))
