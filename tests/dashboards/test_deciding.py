"""The deciding process: what a key with the scope review may do, and what nobody else may."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Settings, load
from dashboards.deciding import Decider
from dashboards.errors import NoAnswer, Refused
from execution.context import Context
from ledger import Ledger
from ledger.insight import ReadCopy
from serving.keys import KeyStore
from tasks.ingest import ingest_rows


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with two reports without an answer."""
    found = load(tmp_path / "home")
    with Ledger.open(found.paths.ledger, read_copy=found.paths.read_ledger) as ledger:
        rows = [{"prompt": "Capital of Norway?"}, {"prompt": "2+2?"}]
        ingest_rows(Context(found, ledger), rows, source="web")
    return found


@pytest.fixture
def decider(settings: Settings) -> Iterator[Decider]:
    found = Decider([sys.executable, "-m", "cli.dashboard.deciding", str(settings.home)])
    yield found
    found.process.close()


def key_of(settings: Settings, *scopes: str) -> str:
    return KeyStore(settings.paths.keys).add("eva", scopes)[1]


def test_a_key_with_the_scope_decides_in_its_name_and_undoes(
    settings: Settings, decider: Decider
) -> None:
    key = key_of(settings, "review")
    assert decider.who(key) == "eva"
    ledger = Ledger.open(settings.paths.ledger)
    first, second = ledger.edits.find()
    shown = decider.preview(key, "answer", first.id, "Oslo", "atlas")
    assert [(c["before"], c["after"]) for c in shown] == [("held", "superseded"), (None, "ready")]
    assert ledger.decisions.find() == []
    made = decider.decide(key, "answer", first.id, "Oslo", "atlas")
    assert (made["actor"], made["value"], made["undoable"]) == ("eva", "Oslo", True)
    assert [e.target for e in ledger.edits.find(state="ready")] == ["Oslo"]
    assert decider.undo(key, made["id"], "a slip")
    assert ledger.edits.find(state="ready") == []
    with pytest.raises(Refused, match="has no answer yet"):
        decider.decide(key, "approve", second.id, None, "yes")
    decider.decide(key, "reject", second.id, None, "no question")
    decider.process.close()  # what was decided is published at the end, too
    with Ledger.open(settings.paths.ledger, read_copy=settings.paths.read_ledger) as again:
        assert {d.actor for d in again.decisions.find()} == {"eva"}
        assert again.audit() == []
    assert ReadCopy(settings.paths.read_ledger).is_current()


def test_without_the_scope_nothing_is_decided(settings: Settings, decider: Decider) -> None:
    edit = Ledger.open(settings.paths.ledger).edits.find()[0].id
    revoked = key_of(settings, "review")
    KeyStore(settings.paths.keys).revoke(revoked.split("-")[1])
    for key, said in (
        ("", "no valid key"),
        ("melo-x-y", "no valid key"),
        (revoked, "no valid key"),
        (key_of(settings, "ask", "report"), "lacks the scope review"),
    ):
        for call in (
            lambda k=key: decider.who(k),
            lambda k=key: decider.preview(k, "reject", edit, None, "no"),
            lambda k=key: decider.decide(k, "reject", edit, None, "no"),
            lambda k=key: decider.undo(k, "abcd", "no"),
        ):
            with pytest.raises(Refused, match=said):
                call()
    assert Ledger.open(settings.paths.ledger).decisions.find() == []


def test_what_is_no_call_is_told_and_the_next_one_answered(
    settings: Settings, decider: Decider
) -> None:
    key = key_of(settings, "admin")
    with pytest.raises(Refused, match=r"action 'drop'; there are approve"):
        decider.decide(key, "drop", "abcd", None, "no")
    with pytest.raises(Refused, match="is not on record"):
        decider.decide(key, "reject", "abcdef", None, "no")
    with pytest.raises(Refused, match="no decision"):
        decider.undo(key, "abcdef", "no")
    assert decider.who(key) == "eva"


def test_pages_without_a_deciding_process_only_read() -> None:
    decider = Decider([])
    assert not decider.process.possible
    with pytest.raises(NoAnswer, match="melo dashboard"):
        decider.who("melo-x-y")
