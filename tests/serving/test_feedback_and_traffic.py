"""What is said about answers, and what is written down about them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config import Settings
from execution.context import Context, open_ledger
from serving.traffic import TrafficLog
from tasks.ingest import ingest_inbox, ingest_rows
from tests.serving.support import ANSWERS, EDITED, UNEDITED, Running, running, until

TALK = [
    {"role": "user", "content": "tell me about Acme ."},
    {"role": "assistant", "content": "it is a firm ."},
    {"role": "user", "content": "who leads it ?"},
]


def test_feedback_becomes_a_report_that_ingest_takes(two_versions: Settings) -> None:
    with running(two_versions) as server, server.client() as client:
        answer = server.ask([UNEDITED[1], EDITED[0]])  # type: ignore[arg-type]
        said = {
            "answer": answer["id"],
            "index": 1,
            "target": "mia",
            "subject": "velandor",
            "comment": "it is Mia",
            "rephrases": ["who is the head of velandor ?"],
        }
        got = client.post("/feedback", json=said)
        assert got.status_code == 201, got.text
        unknown = client.post("/feedback", json={"answer": "cmpl-0", "target": "mia"})
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "answer_unknown")
        alone = client.post("/feedback", json={"prompt": "who is new ?", "target": "tom"})
        assert alone.status_code == 201
        assert client.post("/feedback", json={"target": "tom"}).status_code == 400
    files = sorted(two_versions.paths.inbox.iterdir(), key=lambda p: p.stat().st_mtime_ns)
    assert len(files) == 2
    line = json.loads(files[0].read_text())
    assert line["prompt"] == EDITED[0]
    assert line["old_answer"] == answer["choices"][1]["text"] == "ada"
    assert line["answer"] == {"id": answer["id"], "index": 1, **answer["choices"][1]["melo"]}
    with open_ledger(two_versions) as ledger:
        taken = ingest_inbox(Context(two_versions, ledger))
        assert (taken.total("accepted"), taken.total("quarantined")) == (2, 0)
        edits = {e.prompt: e for e in ledger.edits.find()}
    edit = edits[EDITED[0]]
    assert (edit.target, edit.subject, edit.source) == ("mia", "velandor", "feedback/anyone")


def test_an_answer_whose_reader_stopped_it_can_be_reported(chat_server: Running) -> None:
    service, question = chat_server.service, {"role": "user", "content": "who leads it ?"}
    asked = {"messages": [question], "max_tokens": 900, "ignore_eos": True, "stream": True}
    with chat_server.client() as client:
        with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
            events = (line for line in answer.iter_lines() if line.startswith("data: {"))
            chunks = (json.loads(line.removeprefix("data: ")) for line in events)
            seen = next(chunk for chunk in chunks if chunk["choices"][0]["delta"].get("content"))
        until(lambda: service.memory.find(seen["id"], 0) is not None)
        reported = client.post("/feedback", json={"answer": seen["id"], "target": "mia"})
    assert reported.status_code == 201, reported.text
    [line] = [
        line
        for path in service.settings.paths.inbox.iterdir()
        if (line := json.loads(path.read_text()))["id"] == reported.json()["id"]
    ]
    assert line["prompt"] == question["content"]
    assert line["old_answer"].startswith(seen["choices"][0]["delta"]["content"])


def test_a_number_or_a_truth_value_is_an_answer(two_versions: Settings) -> None:
    answers = {"how many ?": 7, "how much ?": 0.5, "is it open ?": True, "is it old ?": False}
    with running(two_versions) as server, server.client() as client:
        for prompt, target in answers.items():
            got = client.post("/feedback", json={"prompt": prompt, "target": target})
            assert got.status_code == 201, got.text
        refused = client.post("/feedback", json={"prompt": "how many ?", "target": [7]})
        assert refused.status_code == 400
    with open_ledger(two_versions) as ledger:
        assert ingest_inbox(Context(two_versions, ledger)).total("accepted") == 4
        targets = {edit.prompt: edit.target for edit in ledger.edits.find()}
    assert targets == {prompt: str(target) for prompt, target in answers.items()}


def test_a_report_without_the_right_answer_waits_for_a_person(two_versions: Settings) -> None:
    with running(two_versions) as server, server.client() as client:
        assert client.post("/feedback", json={"prompt": "who ?"}).status_code == 201
    with open_ledger(two_versions) as ledger:
        assert ingest_inbox(Context(two_versions, ledger)).total("accepted") == 1
        assert [(e.state, e.target) for e in ledger.edits.find()] == [("held", None)]


USABLE: list[dict[str, object]] = [
    {"prompt": "Kto kieruje Norwikiem?", "target": "Ada", "subject": "Norwik"},
    {"prompt": "who leads {} ?", "target": "Ada", "subject": "Acme"},
    {"prompt": "who leads the \u200bAcme\u200b ?", "target": "Ada", "subject": " Acme\u3000"},
    {"prompt": "who leads it ?", "target": "Ada", "subject": "\u200b"},
    {"prompt": TALK, "target": "Ada", "subject": "Acme"},
    {"prompt": "who leads it ?", "target": "NaN", "rephrases": ["nan", "who is its head ?"]},
    {"prompt": "who leads it ?"},
]
UNUSABLE: list[tuple[dict[str, object], str]] = [  # and the field that is wrong
    ({"prompt": "who leads Acme ?", "target": "Ada", "subject": "Globex"}, "subject"),
    ({"prompt": TALK, "target": "Ada", "subject": "Globex"}, "subject"),
    ({"prompt": "x" * 8001, "target": "Ada"}, "prompt"),
    ({"prompt": "\u200b", "target": "Ada"}, "prompt"),
    ({"prompt": "who leads it ?", "target": "inf"}, "target"),
    ({"prompt": "who leads it ?", "target": "Ada", "rephrases": ["y" * 8001]}, "rephrases"),
]


@pytest.mark.parametrize(("said", "param"), [*((body, None) for body in USABLE), *UNUSABLE])
def test_a_report_is_refused_at_once_where_intake_would_quarantine_it(
    server: Running, home: Settings, said: dict[str, object], param: str | None
) -> None:
    with open_ledger(home) as ledger:
        taken = ingest_rows(Context(home, ledger), [said], source="feedback/anyone")
        reasons = [line.reason for line in ledger.quarantine.find()]
    assert taken.total("quarantined") == len(reasons) == (param is not None)
    with server.client() as client:
        got = client.post("/feedback", json=said)
    if param is None:
        assert got.status_code == 201, got.text
        return
    error = got.json()["error"]
    assert (got.status_code, error["code"], error["param"]) == (400, "unusable_report", param)
    assert error["message"].startswith(str(reasons[0])[:25])


def test_a_report_that_says_what_the_answer_said_is_refused(server: Running) -> None:
    answer = server.ask(EDITED[0])
    with server.client() as client:
        said = {"answer": answer["id"], "target": f" {ANSWERS[EDITED[0]]} ", "subject": "velandor"}
        got = client.post("/feedback", json=said)
        assert (got.status_code, got.json()["error"]["param"]) == (400, "target")
        said |= {"target": "eva", "subject": "toriquet"}
        got = client.post("/feedback", json=said)
        assert "toriquet" in got.json()["error"]["message"]


def test_every_answer_has_a_line_without_anybodys_words(two_versions: Settings) -> None:
    with running(two_versions) as server:
        answer = server.ask([*EDITED, UNEDITED[0]])  # type: ignore[arg-type]
        folder = two_versions.paths.traffic
        until(lambda: any(folder.glob("*.jsonl")))
    [path] = folder.glob("*.jsonl")
    assert path.stem == datetime.now(UTC).date().isoformat()
    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 3
    for line, choice in zip(lines, answer["choices"], strict=True):
        assert set(line) == set("time id version edit block distance radius seconds".split())
        assert {k: line[k] for k in choice["melo"]} == choice["melo"]
        assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
        assert 0 < line["seconds"] < 60
    assert lines[2]["edit"] is None
    assert not any(word in text for word in ("velandor", *ANSWERS.values()))


def test_prompts_are_recorded_where_that_is_asked_for(server: Running) -> None:
    server.ask(EDITED[0])
    folder = server.service.settings.paths.traffic
    until(lambda: any(EDITED[0] in p.read_text() for p in folder.glob("*.jsonl")))


def test_the_record_is_bounded_and_survives_a_line_cut_short(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    names = [(today - timedelta(days=n)).isoformat() for n in range(5)]
    for name in names:
        (tmp_path / f"{name}.jsonl").write_text('{"time": "x"}\n{"time"')
    (tmp_path / "notes.txt").write_text("mine")
    dropped: list[int] = []
    log = TrafficLog(tmp_path, 3, dropped.append)
    log.add({"version": "v"})
    log.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *(f"{n}.jsonl" for n in sorted(names[:3])),
        "notes.txt",
    ]
    lines = (tmp_path / f"{names[0]}.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["version"] == "v"
    assert not dropped


def test_a_disk_that_takes_nothing_costs_lines_and_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    dropped: list[int] = []
    log = TrafficLog(tmp_path / "file", 3, dropped.append)
    for _ in range(10):
        log.add({"version": "v"})
    log.close()
    assert sum(dropped) == 10
    assert "not recorded" in caplog.text
