from __future__ import annotations

import csv
import gzip
import json
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from execution.context import Context
from tasks.ingest import IngestError, IngestOptions, ingest_paths, ingest_rows, lines, opening
from tests.tasks.ingest_support import ROWS, adds_up, lines_of, opened


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def write(path: Path) -> Path:
    """ROWS in the format that the file's name asks for."""
    name = path.name
    if ".csv" in name or ".tsv" in name:
        flat = path.with_name("flat.csv")
        with flat.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(ROWS[0]), delimiter="\t" if "tsv" in name else ",")
            writer.writeheader()
            for row in ROWS:
                writer.writerow(
                    {k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()}
                )
        data = flat.read_bytes()
        flat.unlink()
    elif ".parquet" in name:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
        return path
    else:
        data = (
            json.dumps(ROWS, indent=1).encode()
            if ".json" in name and ".jsonl" not in name
            else lines_of(ROWS)
        )
    if name.endswith(".gz"):
        data = gzip.compress(data)
    if name.endswith(".zst"):
        data = zstd(data)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "name",
    "a.jsonl a.txt a.jsonl.gz a.jsonl.zst a.json a.json.gz a.csv a.csv.gz a.tsv a.parquet".split(),
)
def test_every_format_ends_in_the_same_edits(tmp_path: Path, name: str) -> None:
    ledger, settings = opened(tmp_path / "home")
    outcome = ingest_paths(Context(settings, ledger), [write(tmp_path / name)])
    assert (outcome.total("lines"), outcome.total("accepted")) == (7, 7), outcome
    found = [(e.prompt, e.target, e.rephrases, e.locality[0].answer) for e in ledger.edits.find()]
    assert found == [
        (f"Who wrote book {n}?", f"author {n}", (f"Book {n} is by whom?",), "4") for n in range(7)
    ]
    assert adds_up(ledger, 7)


def test_json_may_also_be_values_one_after_another(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    (tmp_path / "a.json").write_text("\n\n".join(json.dumps(row, indent=2) for row in ROWS))
    assert ingest_paths(Context(settings, ledger), [tmp_path / "a.json"]).total("accepted") == 7


def test_folders_and_globs_are_read_and_nothing_outside_them(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.jsonl").write_bytes(lines_of(ROWS[4:]))
    (inside / "one.jsonl").write_bytes(lines_of(ROWS[:2]))
    (inside / "[x]*.jsonl").write_bytes(lines_of(ROWS[2:3]))
    (inside / ".hidden.jsonl").write_bytes(lines_of(ROWS[3:4]))
    (inside / "link.jsonl").symlink_to(outside / "secret.jsonl")
    (inside / "folder").symlink_to(outside)
    outcome = ingest_paths(Context(settings, ledger), [inside])
    assert outcome.total("lines") == 3
    assert ingest_paths(Context(settings, ledger), [str(inside / "o*.jsonl")]).files[0].known_before


def test_a_missing_path_is_told_before_anything_is_read(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    (tmp_path / "a.jsonl").write_bytes(lines_of(ROWS))
    for missing in (tmp_path / "none.jsonl", "\0", "x" * 5000):
        with pytest.raises(IngestError, match="is not there"):
            ingest_paths(Context(settings, ledger), [tmp_path / "a.jsonl", missing])
    assert ledger.counts().lines == 0


def test_rows_come_from_any_iterable(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    outcome = ingest_rows(Context(settings, ledger), (row for row in ROWS), source="thumbs")
    assert outcome.total("accepted") == 7
    assert {edit.source for edit in ledger.edits.find()} == {"thumbs"}


def test_a_forced_source_overrides_what_lines_claim(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    (tmp_path / "a.jsonl").write_bytes(lines_of([{**ROWS[0], "source": "curators"}]))
    ingest_paths(Context(settings, ledger), [tmp_path / "a.jsonl"], IngestOptions(source="web"))
    assert ledger.edits.find()[0].source == "web"


@pytest.mark.parametrize("name", ["cut.jsonl.gz", "cut.jsonl.zst", "cut.json", "cut.parquet"])
def test_a_file_that_breaks_off_keeps_what_came_before(tmp_path: Path, name: str) -> None:
    ledger, settings = opened(tmp_path / "home")
    path = write(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-9])
    outcome = ingest_paths(Context(settings, ledger), [path])
    assert outcome.total("quarantined") >= 1
    assert adds_up(ledger, outcome.total("lines"))


def fail_the_disk_under(path: Path) -> None:
    """Let the kernel answer the next read of an open file as it does for a broken disk: EIO."""
    nothing = os.open("/proc/self/mem", os.O_RDONLY)
    for entry in Path("/proc/self/fd").iterdir():
        if entry.is_symlink() and os.readlink(entry) == str(path):
            os.dup2(nothing, int(entry.name))
    os.close(nothing)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json", "a.csv"])
def test_what_a_disk_failed_to_give_is_read_when_it_is_back(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (lines, opening):
        monkeypatch.setattr(module, "BLOCK", 200_000)
    ledger, settings = opened(tmp_path / "home")
    some = {"chunk_lines": 1, "max_line_bytes": 200_000}
    few = settings.model_copy(update={"ingest": settings.ingest.model_copy(update=some)})
    pads = [random.Random(n).randbytes(50_000).hex() for n in range(14)]
    rows: list[dict[str, object]] = [
        {"prompt": f"Who wrote book {n}?", "target": f"author {n}", "pad": pad}
        for n, pad in enumerate(pads)
    ]
    data = lines_of(rows)
    if name == "a.csv":
        data = b"".join(
            b"%s\n" % ",".join(map(str, row)).encode()
            for row in [rows[0].keys(), *(row.values() for row in rows)]
        )
    pack = {".gz": gzip.compress, ".zst": zstd}.get(Path(name).suffix, bytes)
    path = tmp_path / name
    path.write_bytes(pack(data))
    with pytest.raises(OSError, match="Input/output error"):
        ingest_paths(Context(few, ledger), [path], progress=lambda *_: fail_the_disk_under(path))
    before = ledger.counts().lines
    assert 0 < before < 14
    again = ingest_paths(Context(few, ledger), [path])
    assert (again.total("accepted"), again.total("quarantined")) == (14 - before, 0)
    assert adds_up(ledger, 14)


def test_a_zip_bomb_is_stopped(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    small = settings.model_copy(
        update={"ingest": settings.ingest.model_copy(update={"max_file_bytes": 10_000_000})}
    )
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b" " * 60_000_000))
    outcome = ingest_paths(Context(small, ledger), [tmp_path / "a.jsonl.gz"])
    assert "unpacks to more than" in str(ledger.quarantine.find()[-1].reason)
    assert adds_up(ledger, outcome.total("lines"))


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        (
            "a.xls",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
            "a.xls is an old Excel workbook",
        ),
        (
            "a.csv",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
            "a.csv is an old Excel workbook",
        ),
        ("a.zip", b"PK\x03\x04" + bytes(500), "a.zip is a ZIP archive or an office document"),
        ("a.gz", b"PK\x03\x04" + bytes(500), "a.gz is a ZIP archive or an office document"),
        ("a.jsonl.gz", b"\x01\x02\xff\n" * 90, "a.jsonl.gz is neither gzip nor zstd"),
        (
            "a.yaml",
            b"- prompt: 2+2?\n  target: 4\n",
            "a.yaml is YAML, which is not read. Write its",
        ),
        ("a.data", b"PAR1" + bytes(500), "a.data is a Parquet file under another name"),
        ("a.jsonl.bz2", b"BZh91AY" + bytes(500), "a.jsonl.bz2 is a bzip2 file"),
    ],
)
def test_a_file_of_another_kind_is_one_line_that_says_what_it_is(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    ledger, settings = opened(tmp_path / "home")
    (tmp_path / name).write_bytes(data)
    ingest_paths(Context(settings, ledger), [tmp_path / name])
    (kept,) = ledger.quarantine.find()
    assert kept.reason.startswith(reason)
    assert "Taken are JSON lines, JSON, CSV, TSV, XLSX, Parquet and Arrow" in kept.reason
    assert adds_up(ledger, 1)


@pytest.mark.parametrize("name", ["a.yaml", "a.log", "a.jsonl.gz"])
def test_lines_are_read_under_any_name(tmp_path: Path, name: str) -> None:
    ledger, settings = opened(tmp_path / "home")
    (tmp_path / name).write_bytes(lines_of(ROWS))
    assert ingest_paths(Context(settings, ledger), [tmp_path / name]).total("accepted") == 7
