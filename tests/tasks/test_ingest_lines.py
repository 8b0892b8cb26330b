from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from config import load
from execution.context import Context
from ledger import Ledger, UnknownId
from tasks.ingest import IngestOptions, ingest_paths, retry_quarantined
from tests.tasks.ingest_support import ROWS, adds_up, lines_of, opened

REASONS = {
    "{bad": "not a JSON object",
    "[1, 2]": "not a JSON object",
    "null": "not a JSON object",
    "": "the line is empty",
    '{"target": "x"}': "prompt is missing or empty",
    '{"prompt": " \\n ", "target": "x"}': "prompt is missing or empty",
    '{"prompt": 7, "target": "x"}': "prompt must be a string or a list of messages; it is the number 7",
    '{"prompt": "p", "target": ["x"]}': "target must be a string, a number, true or false; it is a list",
    '{"prompt": "p", "target": "x", "rephrases": [1]}': "rephrases must be a list of strings",
    '{"prompt": "p", "target": "x", "locality": ["q"]}': "locality must be a list of",
    '{"prompt": "p", "target": "x", "valid_from": "soon"}': "valid_from is no date: soon",
    '{"prompt": "p", "target": "x", "valid_from": "2024", "valid_to": "2023"}': "not after",
    '{"prompt": "p", "target": "x", "old_answer": "x"}': "are the same",
    '{"relation": "capital", "object": "Paris"}': "subject or relation is missing",
    '{"subject": "France", "relation": "capital"}': "a fact needs an object",
    json.dumps({"prompt": "p" * 100_000, "target": "x"}): "prompt has 100000 characters; at most",
    json.dumps({"prompt": "p", "target": "x" * 3000}): "target has 3000 characters",
    json.dumps(
        {"prompt": "p", "target": "x", "rephrases": [f"a{n}" for n in range(99)]}
    ): "more than 64 items",
    json.dumps({"prompt": "p", "target": "x", "rephrases": ["a" * 9000]}): "a rephrase has more",
    '{"prompt": "\\ud800", "target": "x"}': "not a JSON object",
    "[" * 100_000: "not a JSON object",
}


def test_each_unusable_line_is_kept_with_file_line_raw_text_and_reason(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(line + "\n" for line in REASONS))
    outcome = ingest_paths(Context(settings, ledger), [path])
    found = ledger.quarantine.find()
    assert outcome.total("quarantined") == len(found) == len(REASONS)
    for number, (kept, (line, reason)) in enumerate(zip(found, REASONS.items(), strict=True), 1):
        assert (kept.file, kept.line, kept.raw.rstrip("\n")) == ("bad.jsonl", number, line)
        assert reason in kept.reason
    assert adds_up(ledger, len(REASONS))


def test_bytes_that_are_no_utf8_and_overlong_lines_are_marked(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    good = lines_of(ROWS[:1])
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"prompt": "\xff"}\n'
        + good
        + b'{"prompt": "'
        + b"x" * 20_000_000
        + b'"}\n'
        + lines_of(ROWS[1:2])
    )
    ingest_paths(Context(settings, ledger), [path])
    assert [kept.line for kept in ledger.quarantine.find()] == [1, 3]
    assert "not UTF-8 at byte 13" in ledger.quarantine.find()[0].reason
    assert "more than 1048576 bytes" in ledger.quarantine.find()[1].reason
    assert [edit.target for edit in ledger.edits.find()] == ["author 0", "author 1"]
    assert adds_up(ledger, 4)


def test_text_is_normalised_and_the_raw_line_kept(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    raw = '{"prompt": "  Where is Zu\\u0308rich\\u200b? ", "target": " CH "}'
    path = tmp_path / "a.jsonl"
    path.write_text(raw + '\n{"prompt":"where is zürich", "target":"CH"}\n')
    outcome = ingest_paths(Context(settings, ledger), [path])
    (edit,) = ledger.edits.find()
    assert (edit.prompt, edit.target, edit.reported) == ("Where is Zürich?", "CH", 2)
    assert outcome.total("duplicates") == 1
    assert ledger.edits.raw_lines(edit.id)[0] == ("a.jsonl", 1, "accepted", raw + "\n")


def test_the_same_content_is_read_once_under_any_name(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(lines_of(ROWS))
    first = ingest_paths(Context(settings, ledger), [tmp_path / "a.jsonl"])
    second = ingest_paths(Context(settings, ledger), [tmp_path / "b.jsonl"])
    assert (first.total("accepted"), second.total("lines")) == (7, 0)
    assert second.files[0].known_before
    again = ingest_paths(
        Context(settings, ledger), [tmp_path / "b.jsonl"], IngestOptions(again=True)
    )
    assert again.total("duplicates") == 7
    assert adds_up(ledger, 14)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_file_half_read_is_completed_and_not_repeated(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    ledger, settings = opened(home)
    small = settings.model_copy(
        update={"ingest": settings.ingest.model_copy(update={"chunk_lines": 2})}
    )
    path = tmp_path / name
    path.write_bytes(lines_of(ROWS) if name == "a.jsonl" else json.dumps(ROWS).encode())

    class Killed(BaseException): ...

    def dies(*_: object) -> None:
        raise Killed

    if name == "a.jsonl":
        path.write_bytes(b"".join(lines_of([row]) + b" " * 9_000_000 + b"\n" for row in ROWS[:3]))
    with pytest.raises(Killed):
        ingest_paths(Context(small, ledger), [path], progress=dies)
    before = ledger.counts().lines
    assert 0 < before < (6 if name == "a.jsonl" else 7)
    outcome = ingest_paths(Context(small, Ledger.open(settings.paths.ledger)), [path])
    assert outcome.total("lines") == (6 if name == "a.jsonl" else 7) - before
    assert ledger.audit() == []
    assert len(ledger.edits.find()) == (3 if name == "a.jsonl" else 7)


def test_a_quarantined_line_can_be_tried_again_under_other_settings(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prompt": "p" * 9000, "target": "x"}) + "\n{bad\n")
    ingest_paths(Context(settings, ledger), [path])
    (tmp_path / "home" / "melo.toml").write_text("[ingest]\nmax_prompt_chars = 10000\n")
    assert retry_quarantined(Context(load(tmp_path / "home"), ledger)) == 1
    assert retry_quarantined(Context(load(tmp_path / "home"), ledger)) == 0
    assert ledger.edits.raw_lines(ledger.edits.find()[0].id)[0][:2] == ("a.jsonl", 1)
    assert adds_up(ledger, 2)


ATTACKS = [
    "'; DROP TABLE edits; --",
    '"); DELETE FROM reports; --',
    "$paths",
    "{subject}",
    "%s",
    "' OR 1=1 --",
    "\\'; ATTACH '/etc/passwd' --",
    "read_csv('/etc/passwd')",
]


def test_no_field_can_carry_sql(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    fields = ("prompt", "target", "subject", "relation", "old_answer", "source", "id", "supersedes")
    rows: list[dict[str, object]] = []
    for number, attack in enumerate(ATTACKS):
        rows.append(
            {name: f"{attack} {number} {name}" for name in fields}
            | {
                "rephrases": [attack],
                "aliases": [attack],
                "locality": [{"prompt": attack, "answer": attack}],
            }
        )
        rows.append({"subject": attack, "relation": f"r {attack}", "object": attack})
    path = tmp_path / "it's; DROP TABLE files; --.jsonl"
    path.write_bytes(lines_of(rows))
    outcome = ingest_paths(
        Context(settings, ledger), [path], IngestOptions(source="x'; DROP TABLE sources; --")
    )
    assert outcome.total("accepted") == len(rows)
    assert ledger.edits.find()[0].target == f"{ATTACKS[0]} 0 target"
    for attack in ATTACKS:
        assert ledger.edits.find(source=attack) == []
        assert ledger.conflicts.find(edit_id=attack) == []
        with pytest.raises(UnknownId):
            ledger.sources.block(attack, actor=attack, reason=attack)
        with pytest.raises(UnknownId):
            ledger.edits.get(attack)
    assert adds_up(ledger, len(rows))


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    "prompt target subject relation object rephrases locality answer "
                    "valid_from urgent id supersedes é"
                ).split()
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)
some_bytes = st.one_of(
    st.binary(max_size=200),
    st.lists(json_like.map(lambda value: json.dumps(value).encode()), max_size=6).map(b"\n".join),
    st.tuples(
        st.sampled_from([b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"\xef\xbb\xbf", b"["]),
        st.binary(max_size=60),
    ).map(b"".join),
)


@settings(max_examples=7, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    files=st.lists(
        st.tuples(
            st.sampled_from(["jsonl", "json", "csv", "parquet", "tsv", "json.gz"]), some_bytes
        ),
        min_size=3,
        max_size=6,
    ),
)
@example(files=[("jsonl", b'{"prompt":"\x00"}'), ("json", b"[1,2"), ("csv", b'a,"b\n\0')])
def test_any_bytes_end_in_lines_that_add_up(files: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger, options = opened(Path(folder, "home"))
        paths = [Path(folder, f"f{n}.{end}") for n, (end, _) in enumerate(files)]
        for path, (_, data) in zip(paths, files, strict=True):
            path.write_bytes(data)
        outcome = ingest_paths(Context(options, ledger), paths)
        assert adds_up(ledger, outcome.total("lines"))
