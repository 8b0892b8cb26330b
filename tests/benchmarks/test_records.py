"""A record says all that is needed to judge a run, and nothing about where it lies on a disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.commands.record import command_line
from benchmarks.errors import RecordError
from benchmarks.records import RESULTS, append, latest, make_record, read_records


def test_a_record_names_commit_versions_and_machine() -> None:
    record = make_record("edit", "melo bench edit", {"x": 1}, seed=3, settings={"limit": 5})
    assert len(record["commit"] or "0" * 40) == 40
    assert {"python", "torch", "transformers"} <= record["versions"].keys()
    assert {"processor", "cores", "threads", "memory_gb", "load"} <= record["machine"].keys()
    assert (record["device"], record["seed"], record["settings"]) == ("cpu", 3, {"limit": 5})


def test_what_json_cannot_hold_becomes_null_and_paths_become_names(tmp_path: Path) -> None:
    figures = {"a": float("nan"), "b": [float("inf"), 1.5], "c": tmp_path / "data.jsonl"}
    record = make_record("edit", "melo bench edit", figures)
    assert record["figures"] == {"a": None, "b": [None, 1.5], "c": "data.jsonl"}
    assert str(tmp_path) not in json.dumps(record)


def test_every_run_has_a_file_of_its_own(tmp_path: Path) -> None:
    for number in range(3):
        append(make_record("edit", "melo bench edit", {"number": number}), tmp_path)
    append(make_record("gate", "melo bench gate", {}), tmp_path)
    records = read_records(tmp_path)
    assert len(records) == 4
    assert sorted(r["figures"].get("number", 9) for r in records.values()) == [0, 1, 2, 9]
    assert not list(tmp_path.rglob("*.partial"))


def test_the_last_record_of_a_command_counts(tmp_path: Path) -> None:
    for when, number in (("2026-01-02", 2), ("2026-01-01", 1), ("2026-01-03", 3)):
        record = make_record("edit", "melo bench edit" if number < 3 else "another", {"n": number})
        append({**record, "when": f"{when}T00:00:00Z"}, tmp_path)
    found = latest(read_records(tmp_path))
    assert [r["figures"]["n"] for r in found.values()] == [2, 3]


def test_a_command_is_kept_as_it_was_given(tmp_path: Path) -> None:
    app = typer.Typer()

    @app.command("serve")
    def serve(
        ctx: typer.Context,
        data: Path,
        peer: Annotated[bool, typer.Option("--peer/--no-peer")] = True,
        mlflow: Annotated[bool, typer.Option("--mlflow/--no-mlflow")] = True,
        rounds: int = 3,
    ) -> None:
        typer.echo(command_line(ctx))

    file = tmp_path / "edits.jsonl"
    file.write_text("")
    got = CliRunner().invoke(app, [str(file), "--no-peer", "--mlflow", "--rounds", "2"])
    words = got.output.split()
    assert words[:2] == ["melo", "bench"]
    assert {"--no-peer", "--mlflow", "edits.jsonl"} <= set(words)
    assert "--peer" not in words
    assert words[words.index("--rounds") + 1] == "2"


@pytest.mark.parametrize("text", ["{", "[]", '{"bench": "edit"}'])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "edit").mkdir()
    (tmp_path / "edit" / "broken.json").write_text(text)
    with pytest.raises(RecordError, match=r"broken\.json"):
        read_records(tmp_path)


def test_the_records_that_are_kept_can_be_read() -> None:
    for name, record in read_records(RESULTS).items():
        assert name.startswith(record["bench"] + "/")
        assert str(Path.home()) not in json.dumps(record)
        assert str(Path.cwd()) not in json.dumps(record)
