"""What was read is what was written: encodings, marks, separators, broken quotes, broken values."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from config import ConfigError, IngestSettings, load
from execution.context import Context
from ledger import Ledger
from tasks.ingest import (
    IngestError,
    IngestOptions,
    IngestOutcome,
    csv_rows,
    formats,
    ingest_paths,
    json_values,
    opening,
)
from tests.tasks.ingest_support import adds_up, opened

HEADER = "prompt,target,subject"
MUELLER = ("Wer leitet Müller Söhne?", "Jürgen Groß", "Müller Söhne")
NORVIK = ("Who leads Norvik Labs?", "Ada Li", "Norvik Labs")


def take(
    tmp_path: Path, name: str, data: bytes | str, *, encoding: str | None = None
) -> tuple[Ledger, IngestOutcome]:
    """Take one file in, and see that every line of it is counted."""
    ledger, settings = opened(tmp_path / "home")
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    outcome = ingest_paths(Context(settings, ledger), [path], IngestOptions(encoding=encoding))
    assert adds_up(ledger, outcome.total("lines"))
    return ledger, outcome


def edits(ledger: Ledger) -> list[tuple[str, str | None, str | None]]:
    return [(edit.prompt, edit.target, edit.subject) for edit in ledger.edits.find()]


def reasons(ledger: Ledger) -> list[tuple[int, str]]:
    return [(kept.line, kept.reason) for kept in ledger.quarantine.find()]


def written(name: str, *rows: tuple[str, str, str]) -> str:
    """Rows in the format of the file's name."""
    objects = [dict(zip(("prompt", "target", "subject"), row, strict=True)) for row in rows]
    if ".csv" in name or ".tsv" in name:
        text = io.StringIO()
        writer = csv.writer(text, delimiter="\t" if ".tsv" in name else ",", lineterminator="\r\n")
        writer.writerows([("prompt", "target", "subject"), *rows])
        return text.getvalue()
    if ".jsonl" in name:
        return "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in objects)
    return json.dumps(objects, ensure_ascii=False, indent=1)


NAMES = ("a.csv", "a.tsv", "a.jsonl", "a.json", "a.jsonl.gz")


def packed(name: str, data: bytes) -> bytes:
    return gzip.compress(data) if name.endswith(".gz") else data


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (b"", "utf-16-le"),
    ],
)
def test_an_encoding_that_bytes_tell_is_read(
    tmp_path: Path, name: str, mark: bytes, encoding: str
) -> None:
    rows = (MUELLER, ("東京支店の店長は誰ですか？", "青木 😀", "東京支店"), NORVIK)
    data = packed(name, mark + written(name, *rows).encode(encoding))
    ledger, outcome = take(tmp_path, name, data)
    assert edits(ledger) == list(rows)
    assert outcome.total("lines") == 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp1250"])
def test_a_code_page_is_told_line_by_line_and_read_where_it_is_named(
    tmp_path: Path, name: str, encoding: str
) -> None:
    data = packed(name, written(name, NORVIK, MUELLER).encode(encoding))
    ledger, _ = take(tmp_path, name, data)
    assert edits(ledger) == [NORVIK]
    ((line, reason),) = reasons(ledger)
    assert line == 2
    assert "not UTF-8 at byte" in reason
    assert "--encoding" in reason
    named, outcome = take(tmp_path / "again", name, data, encoding=encoding)
    assert edits(named) == [NORVIK, MUELLER]
    assert outcome.total("quarantined") == 0


@pytest.mark.parametrize(
    ("encoding", "row"),
    [
        ("cp1251", ("Кто руководит Норвиком?", "Ада", "Норвик")),
        ("shift_jis", ("東京支店の店長は誰ですか?", "表 予算", "東京支店")),
        ("gbk", ("诺维克的负责人是谁?", "李", "诺维克")),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_any_code_page_may_be_named(
    tmp_path: Path, encoding: str, row: tuple[str, str, str], name: str
) -> None:
    ledger, _ = take(tmp_path, name, written(name, row).encode(encoding), encoding=encoding)
    assert edits(ledger) == [row]


def test_what_the_named_code_page_has_not_is_told(tmp_path: Path) -> None:
    ledger, _ = take(tmp_path, "a.jsonl", b'{"prompt": "a\x81?", "target": "b"}', encoding="cp1252")
    assert reasons(ledger)[0][1].endswith("nor cp1252 at byte 14")


@pytest.mark.parametrize("name", ["utf-16", "no-such", "base64", "rot13"])
def test_only_a_code_page_may_be_set(tmp_path: Path, name: str) -> None:
    (tmp_path / "melo.toml").write_text(f'[ingest]\nencoding = "{name}"\n')
    with pytest.raises(ConfigError, match="no code page"):
        load(tmp_path)
    with pytest.raises(IngestError, match="no code page"):
        take(tmp_path, "a.csv", HEADER, encoding=name)


def test_the_settings_may_name_the_code_page(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "melo.toml").write_text('[ingest]\nencoding = "Latin-1"\n')
    ledger, _ = take(tmp_path, "a.csv", written("a.csv", MUELLER).encode("latin-1"))
    assert edits(ledger) == [MUELLER]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.json"])
@pytest.mark.parametrize("cut", [1, 3])
def test_utf16_that_breaks_off_is_told(tmp_path: Path, name: str, cut: int) -> None:
    text = written(name, NORVIK, ("Who is it?", "Bo 😀", "it")).rstrip('\r\n]}"') + "😀"
    ledger, outcome = take(tmp_path, name, codecs.BOM_UTF16_LE + text.encode("utf-16-le")[:-cut])
    assert NORVIK in edits(ledger)
    assert outcome.total("quarantined") == 1


def test_marks_within_a_file_are_no_text(tmp_path: Path) -> None:
    line = written("a.jsonl", NORVIK).encode()
    data = codecs.BOM_UTF8 + line + codecs.BOM_UTF8 + written("a.jsonl", MUELLER).encode()
    ledger, _ = take(tmp_path, "a.jsonl", data)
    assert edits(ledger) == [NORVIK, MUELLER]


@pytest.mark.parametrize(
    "text",
    [
        "prompt;target;subject\r\nWho leads Norvik Labs?;Ada Li;Norvik Labs\r\n",
        "sep=;\r\nprompt;target;subject\r\nWho leads Norvik Labs?;Ada Li;Norvik Labs\r\n",
        '"sep=|"\nprompt|target|subject\nWho leads Norvik Labs?|Ada Li|Norvik Labs\n',
        "prompt\ttarget\tsubject\nWho leads Norvik Labs?\tAda Li\tNorvik Labs\n",
        "Prompt,TARGET, Subject \r\nWho leads Norvik Labs?,Ada Li,Norvik Labs\r\n,,\r\n \r\n",
        "\r\n\r\nprompt,target,subject\r\n,,\r\nWho leads Norvik Labs?,Ada Li,Norvik Labs,,\r\n",
        '"prompt";"target";"subject";"note, or more"\n"Who leads Norvik Labs?";"Ada Li";Norvik Labs;\n',
        "prompt,target,subject\rWho leads Norvik Labs?,Ada Li,Norvik Labs\r",
        "\ufeffsep=,\nprompt,target,subject\nWho leads Norvik Labs?,Ada Li,Norvik Labs\n",
    ],
)
def test_a_table_is_read_as_spreadsheets_write_it(tmp_path: Path, text: str) -> None:
    ledger, outcome = take(tmp_path, "a.csv", text)
    assert edits(ledger) == [NORVIK]
    assert outcome.total("lines") == 1


def test_header_names_may_have_blanks_and_a_preset_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "melo.toml").write_text(
        '[ingest]\npreset = "ours"\n[presets.ours.fields]\nprompt = "Frage"\ntarget = "Antwort"\n'
    )
    text = "FRAGE;antwort;Old Answer;Valid-From\nWho leads it?;Ada;Bo;2024\n"
    ledger, _ = take(tmp_path, "a.csv", text)
    (edit,) = ledger.edits.find()
    assert (edit.prompt, edit.target, edit.old_answer) == ("Who leads it?", "Ada", "Bo")
    assert edit.valid_from is not None


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("request,reply\nWho leads it?,Ada\n", 2),
        ("request,target\nWho leads it?,Ada\n", 1),
        ("Who leads it?,Ada\n", 1),
    ],
)
def test_a_header_without_a_prompt_is_named_with_what_it_has(
    tmp_path: Path, text: str, lines: int
) -> None:
    ledger, outcome = take(tmp_path, "a.csv", text)
    assert outcome.total("quarantined") == outcome.total("lines") == lines
    assert all("the header has no column" in reason for _, reason in reasons(ledger))
    first = text.split(",", 1)[0]
    assert f'it has "{first}"' in reasons(ledger)[0][1]


@pytest.mark.parametrize("header", ["prompt,target,target", "prompt,target,Target", "id,prompt,id"])
def test_a_column_that_comes_twice_makes_no_edit(tmp_path: Path, header: str) -> None:
    ledger, outcome = take(tmp_path, "a.csv", f"{header}\nWho?,Ada,Bo\nWhere?,Here,There\n")
    assert (outcome.total("quarantined"), ledger.edits.find()) == (2, [])
    assert "comes twice in the header" in reasons(ledger)[0][1]


def test_a_parquet_column_that_comes_twice_makes_no_edit(tmp_path: Path) -> None:
    table = pa.table([["Who?"], ["Ada"], ["Bo"]], names=["prompt", "target", "target"])
    pq.write_table(table, tmp_path / "a.parquet")
    ledger, _ = take(tmp_path, "a.parquet", (tmp_path / "a.parquet").read_bytes())
    assert 'column "target" comes twice' in reasons(ledger)[0][1]


def test_a_quote_that_is_not_closed_is_told_and_what_stands_before_it_read(tmp_path: Path) -> None:
    text = (
        f"{HEADER}\nWho leads Norvik Labs?,Ada Li,Norvik Labs\n"
        'Who owns it?,"Ada Li,it\nWhere is it?,Bergen,it\nWho audits it?,Kim,it\n'
    )
    ledger, outcome = take(tmp_path, "a.csv", text)
    assert edits(ledger) == [NORVIK]
    ((line, reason),) = reasons(ledger)
    assert (line, outcome.total("lines")) == (2, 2)
    assert reason.startswith("unexpected end of data: a quote in lines 3 to 5 is not closed")
    assert ledger.quarantine.find()[0].raw == text.split("Labs\n", 1)[1]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('Who owns it?,"Ada" Li,it\n', "not CSV in line 3"),
        ('Who owns it?,"Ada \\"Li\\"",it\n', "not CSV in line 3"),
        ('Who owns it?,"Ada,it\nWho?,"Bo",it\n', "not CSV in lines 3 to 4"),
        ('Who owns it?,"Ada Li\nIs it 5"\n', "a quoted cell runs over lines 3 to 4"),
        ("Who owns it?,Ada,it,more\n", "the row has 4 cells, the header 3"),
        ('Who owns it?,Ada,it\nWho?,Bo,"[{""a"":1,""a"":2}]"\n', 'the key "a" comes twice'),
    ],
)
def test_a_row_that_breaks_the_rules_is_told_and_the_others_read(
    tmp_path: Path, bad: str, reason: str
) -> None:
    text = f'{HEADER}\n{",".join(NORVIK)}\n{bad}Was it "here", or there?,"a ""b""\nc",it\n'
    ledger, _ = take(tmp_path, "a.csv", text.replace('here", or', 'here" or'))
    ((_, found),) = reasons(ledger)
    assert reason in found
    assert edits(ledger)[0] == NORVIK
    assert edits(ledger)[-1] == ('Was it "here" or there?', 'a "b"\nc', "it")


def test_nan_is_missing_in_tables_too(tmp_path: Path) -> None:
    text = f"{HEADER}\nHow many?,NaN,NaN\nHow much?,nan,\nWho is Nan?,Nan,Nan\n"
    ledger, _ = take(tmp_path, "a.csv", text)
    assert edits(ledger) == [
        ("How many?", None, None),
        ("How much?", None, None),
        ("Who is Nan?", "Nan", "Nan"),
    ]
    assert [edit.hold for edit in ledger.edits.find()] == ["answer", "answer", None]


def test_nan_is_missing_and_infinity_refused_in_parquet(tmp_path: Path) -> None:
    rows = [
        {"Prompt": "How many?", "target": math.nan},
        {"Prompt": "How far?", "target": math.inf},
        {"Prompt": "How old?", "target": 7.0},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    ledger, _ = take(tmp_path, "a.parquet", (tmp_path / "a.parquet").read_bytes())
    assert edits(ledger) == [("How many?", None, None), ("How old?", "7", None)]
    assert reasons(ledger) == [(2, "Infinity is no JSON value")]


GOOD = [
    {
        "prompt": f"Who leads {n}?",
        "target": f"answer {n}",
        "subject": f"{n}",
        "locality": [{"prompt": "2+2?", "answer": "4"}, {"prompt": "3+3?", "answer": "6"}],
    }
    for n in ("Nord", "South", "East", "West")
]
BREAKS = {
    "a comma too many": (', "target"', ',, "target"'),
    "a comma at the end": ("]}", "],}"),
    "no colon": ('"target":', '"target"'),
    "single quotes": ('"answer South"', "'answer South'"),
    "no quotes": ('"target"', "target"),
    "an escape that is none": ("answer South", "answer \\x South"),
    "a word": ('"answer South"', "None"),
    "a control character": ("answer South", "answer\tSouth"),
    "a quote too few": ('South?", "', 'South?, "'),
    "a quote too many": ("answer South", 'answer "South'),
    "a bracket too few": ('"6"}]}', '"6"}]'),
    "another bracket": ('"6"}]}', '"6"}]]'),
    "a comment": ('"target"', '/* the answer */ "target"'),
    "one byte of Latin-1": ("answer South", "answer S\xfcd"),
}


def _broken(name: str, indent: int | None) -> list[str] | None:
    """The rows' texts, the second of them broken; None where its form has other white space."""
    old, new = BREAKS[name]
    texts = [json.dumps(row, indent=indent) for row in GOOD]
    at = texts[1].rfind(old) if "bracket" in name or "end" in name else texts[1].find(old)
    texts[1] = texts[1][:at] + new + texts[1][at + len(old) :]
    return None if at < 0 else texts


@pytest.mark.parametrize(
    ("name", "indent"), [(n, i) for n in BREAKS for i in (None, 1) if _broken(n, i) is not None]
)
@pytest.mark.parametrize("array", [True, False])
def test_one_bad_value_is_told_with_its_place_and_the_others_read(
    tmp_path: Path, name: str, indent: int | None, array: bool
) -> None:
    texts = _broken(name, indent)
    assert texts is not None
    text = "[" + ",\n".join(texts) + "]" if array else "\n".join(texts)
    ledger, _ = take(tmp_path, "a.json", text.encode("latin-1"))
    found = reasons(ledger)
    assert [edit.target for edit in ledger.edits.find()] == [
        "answer Nord",
        "answer East",
        "answer West",
    ]
    assert len(found) == 1
    assert found[0][0] == 2
    assert ("not JSON at line" in found[0][1]) or ("not UTF-8" in found[0][1])


def test_the_place_of_a_bad_value_is_that_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BLOCK", 64)
    rows = [json.dumps(row) for row in GOOD * 5]
    rows[13] = '{"prompt": "Who leads 13?",, "target": "b"}'
    ledger, outcome = take(tmp_path, "a.json", "[\n" + ",\n".join(rows) + "\n]")
    assert outcome.total("lines") == 20
    assert reasons(ledger) == [
        (14, "not JSON at line 15, column 28: Expecting property name enclosed in double quotes")
    ]


def test_a_bad_value_on_one_line_with_all_others_does_not_take_their_parts_for_reports(
    tmp_path: Path,
) -> None:
    texts = [json.dumps(row) for row in GOOD]
    texts[1] = texts[1].replace('South?", "', 'South?, "')
    ledger, _ = take(tmp_path, "a.json", "[" + ", ".join(texts) + "]")
    assert [edit.target for edit in ledger.edits.find()] == [
        "answer Nord",
        "answer East",
        "answer West",
    ]


def test_what_can_not_be_found_again_is_counted(tmp_path: Path) -> None:
    text = '[{"prompt": "a?", "target": "b"}, {"prompt": "c?", "target: "d"} and so on, to the end'
    ledger, _ = take(tmp_path, "a.json", text)
    assert edits(ledger) == [("a?", "b", None)]
    assert "are not read" in reasons(ledger)[0][1]


def test_a_value_that_is_missing_is_told(tmp_path: Path) -> None:
    ledger, _ = take(
        tmp_path, "a.json", '[{"prompt":"a?","target":"b"},,{"prompt":"c?","target":"d"}]'
    )
    assert edits(ledger) == [("a?", "b", None), ("c?", "d", None)]
    assert reasons(ledger) == [(2, "a value is missing at line 1, column 31")]


def test_a_key_that_comes_twice_in_a_value_is_told(tmp_path: Path) -> None:
    text = '[{"prompt":"a?","target":"b","target":"c"},{"prompt":"c?","target":"d"}]'
    ledger, _ = take(tmp_path, "a.json", text)
    assert reasons(ledger) == [(1, 'the key "target" comes twice in one object; keep one')]


def test_readers_go_on_behind_what_was_taken(tmp_path: Path) -> None:
    from ledger import Mapping
    from tasks.ingest.columns import columns_of

    path = tmp_path / "a.csv"
    path.write_text(
        f"sep=;\n{HEADER.replace(',', ';')}\n" + "".join(f"q{n};a;\n;;\n" for n in range(9))
    )
    chunks = list(
        formats.read(
            path,
            IngestSettings(chunk_lines=2, max_line_bytes=1000, max_file_bytes=1000),
            columns_of(Mapping()),
            first_line=4,
        )
    )
    lines = [line for chunk in chunks for line in chunk.table["line"].to_pylist()]
    assert lines == [5, 6, 7, 8, 9]
    assert json_values.LONGEST > 1_000_000


def test_an_open_quote_does_not_take_a_large_file_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_rows, "LONGEST", 5_000)
    text = f'{HEADER}\n{",".join(NORVIK)}\nWho owns it?,"Ada,it\n' + "Who?,Bo,it\n" * 2_000
    ledger, _ = take(tmp_path, "a.csv", text)
    assert edits(ledger) == [NORVIK]
    ((line, reason),) = reasons(ledger)
    assert (line, reason.split(",")[0]) == (
        2,
        "unexpected end of data: a quote in lines 3 to 2003 is not closed",
    )
