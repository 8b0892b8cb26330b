"""The page says what the records say, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.records import append, make_record, read_records
from benchmarks.report import render, write_page
from benchmarks.report.targets import against_targets
from tests.conftest import Melo

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
FIVE = {
    "edit_success": 1.0,
    "generality": 0.931,
    "locality": 1.0,
    "near_miss_subject": 1.0,
    "near_miss_relation": 0.96,
}


def figures(**more: object) -> dict[str, object]:
    melo = {
        **FIVE,
        "product": 0.89,
        "requests": 2,
        "edits_per_second": 20.0,
        "intervals": {"generality": [0.91, 0.95]},
        "curve": [{"false_activation": 0.1, "generality": 0.9}],
        "at": {"1": {"product": 1.0}, "2": {"product": 0.89}},
    }
    paper = {"product": 0.1, "requests": 2, "edits_per_second": 4.0, "at": {"2": {"product": 0.1}}}
    return {
        "data": "zsre.jsonl",
        "protocol": "questions",
        "backbone": "tiny",
        "speedup": 5.0,
        "rows": {"tested": 2, "unseen": 1, "left_out": 1},
        "melo": melo,
        "paper": paper,
        **more,
    }


def test_a_page_has_every_figure_with_its_command_and_record(tmp_path: Path) -> None:
    path = append(make_record("edit", "melo bench edit --data zsre.jsonl", figures()), tmp_path)
    write_page(tmp_path / "page.md", read_records(tmp_path))
    text = (tmp_path / "page.md").read_text()
    assert "`melo bench edit --data zsre.jsonl`" in text
    assert f"record `edit/{path.name}`" in text
    assert "0.931 (0.910 to 0.950)" in text
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(pictures) == 2
    for picture in pictures:
        assert ElementTree.parse(tmp_path / picture).getroot().tag.endswith("svg")


def test_targets_are_judged_by_the_figures() -> None:
    text = "\n".join(against_targets(figures()))
    assert "| generality | >= 0.950 | 0.9310 | **short** |" in text
    assert "| success | >= 0.990 | 1.0000 | reached |" in text
    assert "against the best other (paper) | >= 0.100 | 0.8900 | reached |" in text
    assert "| edits per second / `paper` | >= 10.0 | 5.0000 | **short** |" in text


def test_a_part_of_a_file_is_not_held_against_the_targets(tmp_path: Path) -> None:
    record = make_record("edit", "melo bench edit --limit 4", figures(), settings={"limit": 4})
    text, _ = render({"edit/x.json": record}, "page")
    assert "to reach" not in text


def test_a_chat_model_has_targets_of_its_own_for_the_rows_that_were_asked() -> None:
    asked = {"system_prompt": 1.0, "after_turns": 0.97, "behind_text": 0.96, "traffic": 1.0}
    told = figures(melo={**figures()["melo"], **asked})  # type: ignore[dict-item]
    record = make_record("edit", "melo bench edit --limit 100", told, settings={"limit": 100})
    text, _ = render({"edit/x.json": record}, "page")
    assert "| after two turns | >= 0.980 | 0.9700 | **short** |" in text
    assert "| traffic | >= 1.000 | 1.0000 | reached |" in text


def test_what_a_user_gets_stands_first_with_its_targets() -> None:
    told = {
        "lines": 100,
        "judged": 90,
        "active": 88,
        "rejected": 2,
        "held": 1,
        "superseded": 9,
        "narrow": 3,
        "seconds": {"ingest": 1.25, "run": 200.0},
        "edit_success": 0.99,
        "generality": 0.91,
        "contains": {"edit_success": 1.0, "generality": 0.95},
        "prompts": {"edit_success": 90, "generality": 90},
    }
    made = {"product": told, "data": "zsre.jsonl", "backbone": "smollm2", "no_subject": False}
    record = make_record("product", "melo bench product --data zsre.jsonl", made)
    text, _ = render({"product/x.json": record}, "page")
    assert text.index("## What a user gets") < text.index("## Quality")
    assert "100 lines: 88 active, 2 rejected, 1 held, 9 superseded; 3 of those" in text
    assert "| edit success | 0.990 | 1.000 | >= 0.980 | 90 | reached |" in text
    assert "| generality | 0.910 | 0.950 | >= 0.930 | 90 | **short** |" in text


def test_all_methods_on_one_chat_model_are_the_first_table() -> None:
    own = {
        **FIVE,
        "product": 0.89,
        "requests": 2,
        "traffic": 1.0,
        "contains": {"edit_success": 1.0},
        "revoke_identity": 1.0,
        "revocations": {
            "revoked": 1,
            "left": 1,
            "same_content": True,
            "identical": 1.0,
            "kept": 1.0,
            "as_backbone": 1.0,
        },
    }
    weak = {**own, "generality": 0.5, "near_miss_relation": 1.0, "product": 0.4}
    told = figures(backbone="smollm2", melo=own, paper=weak, lora=weak, none=weak)
    few = figures(backbone="smollm2")
    records = {
        "edit/x.json": make_record("edit", "melo bench edit --methods all", told),
        "edit/y.json": make_record("edit", "melo bench edit --methods melo,paper", few),
    }
    text, _ = render(records, "page")
    first = text[: text.index("## What a user gets")]
    assert "| `lora` | 2 | 1.000 | 0.500 | 1.000 | 1.000 | 1.000 | 1.000 | 0.400 |" in first
    assert "near-miss, same subject: `paper`, `lora`, `none`." in first
    assert "record `edit/x.json`" in first
    assert "record `edit/y.json`" in text[text.index("## Quality") :]
    assert text.count("record `edit/x.json`") == 1


def test_the_way_there_is_shown_by_both_measures() -> None:
    """After so many edits, as the record says; a dash where a method made fewer."""
    then = {
        "edit_success": 1.0,
        "generality": 0.5,
        "product": 0.25,
        "product_contains": 0.75,
        "contains": {"edit_success": 1.0, "generality": 0.875},
    }
    short = {**FIVE, "product": 0.89, "requests": 10, "at": {"1": then}}
    whole = {**short, "at": {"1": then, "10": then}}
    told = figures(backbone="smollm2", melo=whole, paper=short, lora=short, none=short)
    text, _ = render({"edit/x.json": make_record("edit", "melo bench edit", told)}, "page")
    first = text[: text.index("## What a user gets")]
    assert "| method | 1 | 10 |" in first
    assert "| `melo` | 1.000 / 0.500 / 0.250 | 1.000 / 0.500 / 0.250 |" in first
    assert "| `melo` | 1.000 / 0.875 / 0.750 | 1.000 / 0.875 / 0.750 |" in first
    assert "| `none` | 1.000 / 0.500 / 0.250 | – |" in first


def test_figures_of_others_stand_apart_with_their_source() -> None:
    text, _ = render({}, "page")
    others = text[text.index("## Published by others") :]
    assert "| CrispEdit | arXiv 2602.15823 | Llama-3-8B |" in others


def test_readers_of_keys_stand_side_by_side() -> None:
    found = {"data": "zsre.jsonl", "first": 350, "limit": 100, "raw": {"1%": 0.5, "5%": 0.75}}
    record = make_record("keys", "melo bench keys --data zsre.jsonl", found)
    text, _ = render({"keys/x.json": record}, "page")
    assert "### zsre.jsonl, rows 351 to 450" in text
    assert "| raw | 0.500 | 0.750 |" in text


def test_rules_on_strings_show_what_is_lost_without_them() -> None:
    shares = {"all rules": {"found": 0.75, "traffic": 0.0}, "order": {"found": 0.5, "traffic": 0.0}}
    told = {"data": "zsre.jsonl", "first": 350, "limit": 100, "edits": 90, "without": shares}
    record = make_record("matching", "melo bench matching --data zsre.jsonl", told)
    text, _ = render({"matching/x.json": record}, "page")
    assert "| all rules | 0.7500 | 0.0000 |" in text
    assert "| without order | -25.00 | +0.00 |" in text


def test_without_a_gpus_record_the_page_says_so() -> None:
    trial = make_record("gpu", "melo bench gpu --shapes tiny", {"shapes": []})
    assert "No GPU figure exists yet" in render({"gpu/x.json": trial}, "page")[0]
    real = make_record("gpu", "melo bench gpu", {"shapes": []}, device="NVIDIA H100")
    assert "No GPU figure exists yet" not in render({"gpu/x.json": real}, "page")[0]


def test_the_page_in_docs_is_what_its_records_say() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"record `(.*?)`", text))
    known = read_records()
    assert named <= known.keys()
    assert render({n: r for n, r in known.items() if n in named}, PAGE.stem)[0] == text


def test_the_command_writes_the_page(
    tmp_path: Path, melo_in: Callable[[Path], Melo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELO_BENCH_RESULTS", str(tmp_path / "results"))
    append(make_record("gate", "melo bench gate", {"speedup": 22.5}), tmp_path / "results")
    code, out, _ = melo_in(tmp_path)("bench", "report", "--page", str(tmp_path / "page.md"))
    assert (code, "1 records" in out) == (0, True)
    assert "| speedup | 22.5 |" in (tmp_path / "page.md").read_text()


def test_a_bench_command_keeps_its_record_without_the_machines_paths(
    tmp_path: Path, melo_in: Callable[[Path], Melo], questions_file: Path, t5_folder: Path
) -> None:
    code, out, err = melo_in(tmp_path)(
        "bench",
        "--results",
        str(tmp_path / "results"),
        "edit",
        "--data",
        str(questions_file),
        "--limit",
        "4",
        "--methods",
        "none",
        "--backbone",
        str(t5_folder),
        "--cache",
        str(tmp_path / "cache"),
    )
    assert code == 0, err
    [record] = read_records(tmp_path / "results").values()
    assert record["command"] == (
        f"melo bench edit --data questions.jsonl --limit 4 --methods none --backbone {t5_folder.name}"
    )
    assert record["figures"]["none"]["locality"] == 1.0
    assert '"record"' in out


def test_a_method_of_another_name_is_one_line_and_exit_code_2(
    tmp_path: Path, melo_in: Callable[[Path], Melo], questions_file: Path
) -> None:
    code, _, err = melo_in(tmp_path)(
        "bench", "edit", "--data", str(questions_file), "--methods", "rome"
    )
    assert code == 2
    assert 'method "rome" is unknown' in err
