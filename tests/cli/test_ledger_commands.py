"""The commands on the ledger, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from console.output import print_table


class Melo:
    """Runs a command in one home; keeps exit code and output."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.capsys = home, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            run(["--home", str(self.home), *arguments])
        out, err = self.capsys.readouterr()
        return int(stop.value.code or 0), out, err

    def json(self, *arguments: str) -> Any:
        code, out, err = self(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def melo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Melo:
    return Melo(tmp_path / "home", capsys)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    path = tmp_path / "reports.jsonl"
    rows: list[object] = [
        {"prompt": "Who wrote X?", "target": "Ann", "subject": "X", "source": "a"},
        {"prompt": "Who wrote X?", "target": "Ann", "source": "b"},
        {"prompt": "Who wrote X?", "target": "Bob", "source": "c"},
        {"prompt": "Who wrote Y?", "source": "a"},
        {"prompt": "Who wrote Z?", "target": "Eve", "source": "d"},
        {"prompt": "Who wrote Z?", "target": "Fay", "source": "e"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_status_accounts_for_every_line(melo: Melo, reports: Path) -> None:
    assert melo("ingest", str(reports))[0] == 0
    assert melo.json("status") == {
        "lines": 6,
        "counts": {"duplicate": 1, "held": 3, "ready": 1, "superseded": 1},
        "contradictions": {"sources": 1, "undecided": 1},
        "versions": 0,
        "champion": None,
        "similar": {"edits": 0, "groups": 0},
    }
    assert "ready" in melo("status")[1]


def test_a_home_that_ingest_makes_is_told_once(melo: Melo, reports: Path) -> None:
    assert f"{melo.home} is a new home" in melo("ingest", str(reports))[1]
    assert "new home" not in melo("ingest", str(reports))[1]


def test_an_edits_whole_life_is_shown(melo: Melo, reports: Path) -> None:
    melo("ingest", str(reports))
    (edit,) = melo.json("edits", "list", "--state", "superseded")
    shown = melo.json("edits", "show", edit["id"][:8])
    assert [step["to_state"] for step in shown["history"]] == ["received", "superseded"]
    assert shown["lines"][0]["raw"].startswith('{"prompt": "Who wrote X?", "target": "Bob"')
    assert shown["contradictions"][0]["rule"] == "sources"
    assert "contradicted by" in melo("edits", "show", edit["id"])[1]
    contradictions = melo.json("edits", "contradictions")
    assert len(contradictions) == 2
    [undecided] = [c for c in contradictions if not c["winner"]]
    sides = [undecided["loser_target"], undecided["rival_target"]]
    assert sorted(sides) == ["Eve", "Fay"]
    assert " | ".join(sides) in melo("edits", "contradictions")[1]
    assert melo.json("edits", "similar") == {}


def test_an_edit_of_a_conversation_is_shown_with_what_was_said_before(
    melo: Melo, tmp_path: Path
) -> None:
    said = [
        {"role": "user", "content": "Tell me about the Oxbow."},
        {"role": "assistant", "content": "It makes coffee."},
        {"role": "user", "content": "And its price?"},
    ]
    path = tmp_path / "conversation.jsonl"
    path.write_text(json.dumps({"prompt": said, "target": "129 euros"}) + "\n")
    melo("ingest", str(path))
    (edit,) = melo.json("edits", "list")
    shown = melo("edits", "show", edit["id"])[1]
    lines = [line.split(maxsplit=2) for line in shown.splitlines()[1:]]
    assert ["user,", "before", "Tell me about the Oxbow."] in [
        [word.strip() for word in line] for line in lines
    ]
    assert "assistant, before" in shown


def test_a_review_decides_with_who_and_why(melo: Melo, reports: Path) -> None:
    melo("ingest", str(reports))
    waiting = {edit["target"]: edit["id"] for edit in melo.json("review", "list")}
    assert set(waiting) == {None, "Eve", "Fay"}
    assert melo("review", "approve", waiting["Eve"], "-r", "seen it", "--by", "kim")[0] == 0
    code, out, _ = melo("review", "approve", waiting[None], "-r", "known", "--answer", "Gil")
    assert (code, "Answered by" in out) == (0, True)
    assert melo.json("status")["counts"] == {"duplicate": 1, "ready": 3, "superseded": 3}
    shown = melo.json("edits", "show", waiting["Eve"])
    assert "kim" in [step["actor"] for step in shown["history"]]


def test_a_source_is_blocked_and_its_edits_revoked_in_one_command(
    melo: Melo, reports: Path
) -> None:
    melo("ingest", str(reports))
    revoked = melo.json("sources", "block", "d", "-r", "poison")
    assert len(revoked["revoked"]) == 1
    assert [s["blocked"] for s in melo.json("sources", "list") if s["name"] == "d"] == [True]
    assert melo("sources", "unblock", "d")[0] == 0


def test_quarantined_lines_are_listed_and_tried_again(melo: Melo, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{bad\n{"prompt": "p?", "target": "t"}\n')
    code, _, err = melo("ingest", str(path))
    assert (code, err.count("\n")) == (2, 1)
    assert "line 1: not a JSON object" in err
    assert melo.json("status")["counts"] == {"quarantined": 1, "ready": 1}
    assert melo.json("quarantine", "list")[0]["raw"] == "{bad\n"
    assert melo.json("quarantine", "retry") == {"left": 0, "remaining": 1}
    assert melo("ingest", str(path), "--again", "--lenient")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["ingest"],
        ["ingest", "not-there.jsonl"],
        ["ingest", "x", "--preset", "nope"],
        ["nonsense"],
        ["status", "--nonsense"],
        ["edits", "show", "abcdef"],
        ["review", "approve", "abcdef", "-r", "x"],
        ["sources", "block", "nobody", "-r", "x"],
    ],
)
def test_a_wrong_command_is_one_clear_line_and_exit_code_2(
    melo: Melo, arguments: list[str]
) -> None:
    code, _, err = melo(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("melo: ")
    assert "Traceback" not in err


def test_a_wrong_setting_is_one_clear_line(melo: Melo) -> None:
    melo("init")
    (melo.home / "melo.toml").write_text("[plan]\nmax_edits_per_job = 0\n")
    code, _, err = melo("status")
    assert (code, "plan.max_edits_per_job" in err) == (2, True)


def test_init_makes_a_home_and_leaves_one_as_it_is(melo: Melo) -> None:
    assert melo("init")[0] == 0
    (melo.home / "melo.toml").write_text("# mine\n")
    assert melo("init")[0] == 0
    assert (melo.home / "melo.toml").read_text() == "# mine\n"
    assert melo.json("status")["lines"] == 0


def test_the_inbox_is_taken_in(melo: Melo, reports: Path) -> None:
    melo("init")
    reports.rename(melo.home / "inbox" / "reports.jsonl")
    assert melo.json("ingest", "--inbox")["lines"] == 6
    assert melo.json("status")["lines"] == 6


def test_help_names_every_command_without_importing_the_model(melo: Melo) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from cli.main import run\n"
        "try: run(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit(bool({'torch', 'mlflow', 'prefect', 'duckdb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    for name in ("ingest", "status", "edits", "review", "sources", "quarantine"):
        assert name in done.stdout


def test_status_does_not_load_the_model(melo: Melo) -> None:
    import subprocess
    import sys

    melo("init")
    code = (
        "import sys; from cli.main import run\n"
        f"try: run(['--home', {str(melo.home)!r}, 'status'])\nexcept SystemExit: pass\n"
        "sys.exit(bool({'torch', 'mlflow', 'prefect', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_table_shows_brackets_as_they_are_and_no_control_character(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(["prompt"], [["y [bold]z\x1b[2J"]])
    out = capsys.readouterr().out
    assert "y [bold]z [2J" in out
    assert "\x1b" not in out


def test_columns_that_nobody_read_are_told_where_answers_are_missing(
    melo: Melo, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,foo\nWho wrote X?,Ann\nWho wrote Y?,Bob\n")
    code, _, err = melo("ingest", str(path))
    assert code == 0
    assert "no answer in 2 of 2 lines; columns not read: foo. Name them in a preset" in err
    path.write_text("prompt,target,foo\nWho wrote X?,Ann,1\n")
    assert melo("ingest", str(path))[2] == ""
