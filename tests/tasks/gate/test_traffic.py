"""A locality suite out of what people ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.gate import SuiteError, load_suites
from tasks.gate.suites.traffic import AUDIT, suite_from_traffic
from tests.conftest import write_lines


def test_each_question_is_asked_once_and_a_share_is_held_back_for_audits(tmp_path: Path):
    rows: list[dict[str, object]] = [
        {"prompt": f"what is {i} ?", "kind": "sums"} for i in range(200)
    ]
    rows += [
        {"prompt": "What is 7?"},
        {"prompt": "who leads acme ?", "edit": "e1"},
        {"prompt": " "},
    ]
    file = write_lines(tmp_path / "asked.jsonl", rows)
    taken = suite_from_traffic(tmp_path / "suites", [file], held_back=0.25)
    (often,) = load_suites(tmp_path / "suites")
    (rarely,) = load_suites(tmp_path / "suites" / AUDIT)
    prompts = [{p.prompt for p in s.probes} for s in (often, rarely)]
    assert (taken.asked, taken.held_back, taken.left_out) == (len(prompts[0]), len(prompts[1]), 3)
    assert 30 < taken.held_back < 70
    assert prompts[0] | prompts[1] == {f"what is {i} ?" for i in range(200)}
    assert {p.expect.kind for s in (often, rarely) for p in s.probes} == {"unchanged"}
    assert suite_from_traffic(tmp_path / "suites", [file], held_back=0.25) == taken


def test_a_file_without_prompts_is_refused_in_one_line(tmp_path: Path):
    file = write_lines(tmp_path / "asked.jsonl", [{"id": "1"}])
    with pytest.raises(SuiteError, match="no prompts there"):
        suite_from_traffic(tmp_path / "suites", [file])
