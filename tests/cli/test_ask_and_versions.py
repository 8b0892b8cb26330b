"""The commands about versions, as a user types them, on a home with two champions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from config import Settings
from execution.context import open_ledger
from tests.conftest import Melo, report
from tests.pipeline import promoted, take


@pytest.fixture
def melo(home: Settings, melo_in: Callable[[Path], Melo]) -> Melo:
    with open_ledger(home) as ledger:
        take(home, ledger, report(0))
        promoted(home, ledger)
        take(home, ledger, report(1))
        promoted(home, ledger)
    return melo_in(home.home)


def test_the_commands_tell_one_story(melo: Melo) -> None:
    versions = melo.json("versions", "list")
    first, second = (v["id"] for v in versions)
    assert [v["champion"] for v in versions] == [False, True]
    assert melo("versions", "list")[0] == 0

    answer = melo.json("ask", "who leads toriquet ?")
    assert (answer["answer"], answer["version"]) == ("jon", second)
    assert answer["distance"] <= answer["radius"]
    code, out, _ = melo("ask", "who leads toriquet ?", "--explain")
    assert (code, out.splitlines()[0]) == (0, "jon")
    assert answer["edit"] in out
    base = melo.json("ask", "who leads toriquet ?", "--version", "base")
    assert base["edit"] is None
    before = melo.json("ask", "who leads toriquet ?", "--version", "previous")
    assert (before["answer"], before["version"]) == (base["answer"], first)
    assert "backbone answered" in melo("ask", "what is a city ?", "--explain")[1]

    shown = melo.json("versions", "show", "champion")
    assert shown["id"] == second
    assert {s["suite"] for s in shown["suites"]} >= {"retention"}
    assert "retention" in melo("versions", "show", second[:8], "--probes")[1]
    different = melo.json("versions", "diff", "previous", "champion")
    assert (len(different["added"]), different["removed"]) == (1, [])
    assert melo("versions", "diff", first[:8], second[:8])[0] == 0

    assert {"suite", "metric", "before", "after"} == set(different["suites"][0])

    assert melo("rollback", "--reason", "looked odd")[0] == 0
    assert melo.json("status")["champion"] == first
    assert melo.json("versions", "promote", second[:10])["version"] == second
    reasons = [entry["reason"] for entry in melo.json("versions", "log")]
    assert reasons[:2] == ["promoted by hand", "looked odd"]
    assert "looked odd" in melo("versions", "log")[1]

    edit = next(e for e in melo.json("edits", "list") if e["target"] == "jon")
    done = melo.json("revoke", edit["id"][:8], "--reason", "was wrong")
    assert done["removed"] == [edit["id"]]
    assert melo.json("ask", "who leads toriquet ?")["answer"] == base["answer"]
    assert melo.json("status")["counts"] == {"active": 1, "revoked": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "who leads velandor ?", "--version", "nonsense"),
        ("ask", "who leads velandor ?", "--version", "../../etc/passwd"),
        ("ask", ""),
        ("ask", "who leads velandor ? " * 5000),
        ("versions", "show", "nonsense"),
        ("versions", "promote", "nonsense"),
        ("versions", "diff", "champion", "nonsense"),
        ("edits", "revoke", "nonsense"),
        ("revoke", "nonsense"),
        ("rollback", "nonsense"),
        ("versions", "delete", "champion"),
    ],
)
def test_what_can_not_be_done_is_one_line_and_exit_code_2(
    melo: Melo, arguments: tuple[str, ...]
) -> None:
    before = melo.json("status")
    code, _, err = melo(*arguments)
    assert code == 2
    assert len([line for line in err.splitlines() if line.startswith("melo: ")]) == 1
    assert "Traceback" not in err
    assert melo.json("status") == before


def test_a_conversation_is_asked_and_its_edit_found_by_its_last_question(melo: Melo) -> None:
    alone = melo.json("ask", "who leads toriquet ?")
    said = [
        "--system",
        "be brief",
        "--message",
        "user: tell me a name",
        "--message",
        "assistant:ada",
    ]
    whole = melo.json("ask", *said, "who leads toriquet ?")
    assert (whole["answer"], whole["edit"]) == (alone["answer"], alone["edit"])
    assert [m["role"] for m in whole["prompt"]] == ["system", "user", "assistant", "user"]
    last = melo.json("ask", *said, "--message", "user:who leads toriquet ?")
    assert last == whole
    for wrong, says in (
        (["--message", "who"], "give a role and a text"),
        (["--message", "tool:x", "who"], "allowed:"),
        (["--system", "x"], "no message of role user"),
        ([], "nothing is asked"),
    ):
        code, _, err = melo("ask", *wrong)
        assert code == 2
        assert says in err
        assert "Traceback" not in err


def test_a_home_without_a_champion_says_what_to_do(
    home: Settings, melo_in: Callable[[Path], Melo]
) -> None:
    melo = melo_in(home.home)
    assert melo("init")[0] == 0
    code, _, err = melo("ask", "who leads velandor ?")
    assert code == 2
    assert "melo run" in err
    assert melo.json("ask", "who leads velandor ?", "--version", "base")["edit"] is None
    assert json.loads(melo("versions", "list", "--json")[1]) == []
