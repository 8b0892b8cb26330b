"""How shapes are told, chosen and added, and what becomes of files that are damaged or of another."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from execution.context import Context
from ledger import NOTHING_TO_CORRECT
from tasks.ingest import IngestError, ingest_paths, ingest_rows, retry_quarantined
from tasks.ingest.shapes import recognised, registry, shape_named, shapes
from tests.tasks.ingest_support import ROWS, adds_up, lines_of, opened
from tests.tasks.shapes.shape_support import FIXTURES, reasons, said, take

JSON_LINES = sorted(path.name for path in FIXTURES.glob("*.jsonl"))
OF_FIXTURE = {
    "argilla_flat": "argilla",
    "argilla_records": "argilla",
    "label_studio": "label-studio",
    "langfuse_api": "langfuse",
    "langfuse_scores": "langfuse",
    "langfuse_traces": "langfuse",
    "langsmith_examples": "langsmith",
    "langsmith_feedback": "langsmith",
    "langsmith_runs": "langsmith",
    "open_webui": "open-webui",
    "openai_chat": "openai",
    "openai_evals": "openai",
    "openai_preference": "openai",
    "sharegpt": "sharegpt",
}


def first_row(path: Path) -> dict[str, object]:
    if path.suffix == ".jsonl":
        return dict(json.loads(path.read_text().splitlines()[0]))
    whole = json.loads(path.read_text())
    return dict(whole[0] if isinstance(whole, list) else whole)


def test_each_fixture_is_told_by_its_first_row_and_fits_no_other_shape() -> None:
    for path in FIXTURES.iterdir():
        row = first_row(path)
        shape = recognised(row)
        assert shape is not None
        assert shape.name == OF_FIXTURE[path.stem]
        inner = row[shape.page][0] if shape.page and shape.page in row else row  # type: ignore[index]
        assert [other.name for other in shapes() if other.recognises(inner)] == [shape.name]


def test_reports_and_facts_as_they_stand_are_no_shape() -> None:
    for row in [
        *ROWS,
        {"prompt": "p"},
        {"subject": "s", "relation": "r", "object": "o"},
        {"prompt": "p", "target": "t", "answer": "a", "chosen": "c"},
        {"prompt": "p", "target_new": "t", "ground_truth": "old"},
    ]:
        assert recognised(dict(row)) is None


def test_half_a_file_is_one_clear_line_and_the_whole_completes_it(tmp_path: Path) -> None:
    halves = []
    for name in JSON_LINES:
        halves.append(tmp_path / f"half-{name}")
        halves[-1].write_bytes((FIXTURES / name).read_bytes()[:-20])
    ledger, outcome = take(tmp_path / "home", *halves)
    for file in outcome.files:
        broken = [kept for kept in ledger.quarantine.find() if kept.file == Path(file.name).name]
        assert (broken[-1].line, broken[-1].reason) == (file.lines, "not a JSON object")
    whole, _ = take(tmp_path / "other", *JSON_LINES)
    take(tmp_path / "home", *JSON_LINES)
    assert sorted(map(str, said(ledger))) == sorted(map(str, said(whole)))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_other_encodings_are_read_alike(tmp_path: Path, encoding: str) -> None:
    paths = [tmp_path / name for name in JSON_LINES]
    for path in paths:
        path.write_text((FIXTURES / path.name).read_text(), encoding=encoding)
    assert said(take(tmp_path / "home", *paths)[0]) == said(take(tmp_path / "p", *JSON_LINES)[0])


def test_a_wrong_encoding_is_one_clear_line_and_read_once_it_is_named(tmp_path: Path) -> None:
    first, second = (
        json.dumps({"input": f"Who is nş {n}?", "ideal": "Dvořák"}, ensure_ascii=False)
        for n in range(2)
    )
    path = tmp_path / "evals.jsonl"
    path.write_bytes(first.encode() + b"\n" + second.encode("cp1250"))
    ledger, _ = take(tmp_path / "home", path)
    ((line, reason),) = reasons(ledger)
    assert line == 2
    assert reason.startswith("not UTF-8 at byte ")
    assert "--encoding" in reason
    take(tmp_path / "home", path, encoding="cp1250", again=True)
    assert said(ledger)[1] == ("Who is nş 1?", "Dvořák", None)


@pytest.mark.parametrize("name", sorted({*OF_FIXTURE.values(), "hugging-face", "mlflow"}))
def test_rows_of_another_shape_are_each_told_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "odd.jsonl"
    odd: list[object] = [{"colour": "red"}, {"data": 7, "info": [], "inputs": 3}, [1], None]
    path.write_text("".join(json.dumps(row) + "\n" for row in odd))
    ledger, outcome = take(tmp_path / "home", path, shape=name)
    assert outcome.total("quarantined") == outcome.total("lines") == 4
    assert all("\n" not in reason and len(reason) < 301 for _, reason in reasons(ledger))


def test_a_row_that_does_not_fit_leaves_its_neighbours_be(tmp_path: Path) -> None:
    good = (FIXTURES / "sharegpt.jsonl").read_text().splitlines()[0]
    path = tmp_path / "mixed.jsonl"
    bad = [
        "{bad",
        "",
        '{"conversations": 7}',
        '{"conversations": [], "conversations": []}',
        '{"conversations": [{"from": "human", "value": "\\ud800"}]}',
    ]
    path.write_text("\n".join([bad[0], good, *bad[1:], good.replace("Norway", "Spain"), ""]))
    ledger, outcome = take(tmp_path / "home", path)
    assert outcome.total("accepted") == 2
    found = dict(reasons(ledger))
    assert found[1] == found[6] == "not a JSON object"
    assert found[3] == "the line is empty"
    assert found[5] == 'the key "conversations" comes twice in one object; keep one'


def test_what_names_no_error_is_kept_and_stays_where_it_is(tmp_path: Path) -> None:
    ledger, outcome = take(tmp_path, "open_webui.json")
    assert outcome.files[0].first_problem == f"line 4: {reasons(ledger)[1][1]}"
    assert reasons(ledger)[0][1].startswith(NOTHING_TO_CORRECT)
    settings = opened(tmp_path)[1]
    assert retry_quarantined(Context(settings, ledger)) == 0


def test_a_row_in_quarantine_can_be_tried_again_under_other_settings(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "melo.toml").write_text("[ingest]\nmax_target_chars = 3\n")
    ledger, outcome = take(home, "openai_preference.jsonl")
    assert outcome.total("quarantined") == 2
    (home / "melo.toml").write_text("")
    assert retry_quarantined(Context(opened(home)[1], ledger)) == 1
    assert said(ledger) == [("What is Norway's capital?", "Oslo", "Bergen")]


def test_a_file_half_read_goes_on_where_it_stopped(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    small = settings.ingest.model_copy(update={"chunk_lines": 2})
    settings = settings.model_copy(update={"ingest": small})

    class Killed(BaseException): ...

    def dies(*_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        ingest_paths(Context(settings, ledger), [FIXTURES / "label_studio.json"], progress=dies)
    assert ledger.counts().lines == 2
    outcome = ingest_paths(Context(settings, ledger), [FIXTURES / "label_studio.json"])
    assert outcome.total("lines") == 4
    assert len(said(ledger)) == 3
    assert adds_up(ledger, 6)


def test_a_preset_that_is_chosen_reads_the_rows_itself(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "melo.toml").write_text(
        '[presets.ours.fields]\nprompt = "question"\ntarget = "ground_truth"\n'
    )
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines_of([{"question": "2+2?", "ground_truth": "4", "answer": "5"}]))
    ledger, _ = take(home, path, preset="ours")
    assert said(ledger) == [("2+2?", "4", None)]
    with pytest.raises(IngestError, match="--shape or --preset"):
        take(home, path, preset="ours", shape="openai")
    with pytest.raises(IngestError, match=r"no shape 'ours'\. There are: argilla, hugging-face"):
        take(home, path, shape="ours")


def test_rows_of_python_are_read_by_a_shape(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    row = first_row(FIXTURES / "label_studio.json")
    ingest_rows(Context(settings, ledger), [row], source="labels", shape="label-studio")
    assert said(ledger) == [("What is Norway's capital?", "Oslo", "Bergen")]


OTHERS = """
from tasks.ingest.shapes import Shape

SHAPE = Shape(
    name="{name}", tool="Ours", reads="complaints",
    recognises=lambda row: "complaint" in row,
    report=lambda row: {{"prompt": row["complaint"], "target": row["remedy"]}},
)
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A package with one entry point, as pip would leave it."""
    (folder / f"others_{folder.name}.py").write_text(OTHERS.format(name=name))
    meta = folder / f"others_{folder.name}-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(f"[melo.shapes]\nours = {value}\n")
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    registry.shapes.cache_clear()


@pytest.fixture(autouse=True)
def _forget_shapes_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> object:
    yield
    monkeypatch.undo()
    importlib.invalidate_caches()
    registry.shapes.cache_clear()


def test_another_package_adds_a_shape_by_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    install(folder, monkeypatch, "ours", "others_a:SHAPE")
    assert shape_named("ours").tool == "Ours"
    path = tmp_path / "complaints.jsonl"
    path.write_bytes(lines_of([{"complaint": "2+2?", "remedy": "4"}]))
    ledger, _ = take(tmp_path / "home", path)
    assert said(ledger) == [("2+2?", "4", None)]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ours", "others_{}:NONE", "can't be loaded"),
        ("ours", "others_{}:OTHERS", "can't be loaded"),
        ("ours", "json:dumps", "which is no tasks.ingest.shapes.Shape"),
        ("openai", "others_{}:SHAPE", "two shapes are named 'openai'"),
    ],
)
def test_an_entry_point_that_is_wrong_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    folder = tmp_path / f"b{abs(hash((name, value)))}"
    folder.mkdir()
    install(folder, monkeypatch, name, value.format(folder.name))
    with pytest.raises(IngestError, match=message):
        shapes()
