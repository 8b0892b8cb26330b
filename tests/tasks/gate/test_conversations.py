"""Edits that came as conversations are gated like all others; suites may hold conversations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from melo_engine import Backbone, Conversation, Editor, EditRequest, Message
from tasks.gate import (
    AnswerCache,
    GateOptions,
    GateResult,
    Probe,
    Suite,
    SuiteInputs,
    Thresholds,
    gate_candidate,
    load_suites,
    suites_for,
)
from tests.melo_engine import models
from tests.tasks.gate.conftest import SETTINGS

PLAIN = EditRequest("who leads toriquet ?", "tom", "toriquet", id="plain")


def talk(subject: str, last: str = "what capital city does it lie in ?") -> Conversation:
    return Conversation(
        (
            Message("user", f"tell me about {subject}"),
            Message("assistant", f"{subject} was made by a company"),
            Message("user", last),
        )
    )


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return models.chat_backbone(chat="always")


@pytest.fixture(scope="module")
def editor(backbone: Backbone) -> Editor:
    editor = Editor(backbone, settings=SETTINGS)
    behind = EditRequest(talk("velandor"), "ada li", "velandor", id="behind")
    assert behind.needs_conversation
    editor.edit([PLAIN, behind])
    return editor


def gated(editor: Editor, cache: AnswerCache, suites: list[Suite]) -> GateResult:
    return gate_candidate(
        editor,
        editor.version,
        None,
        suites=suites,
        cache=cache,
        options=GateOptions(Thresholds.load()),
    )


def test_an_edit_that_needs_its_conversation_is_asked_in_it(
    editor: Editor, cache: AnswerCache
) -> None:
    suites = {
        s.name: s for s in suites_for(editor.version, SuiteInputs(known_subjects=["quinomire"]))
    }
    own = {p.edit: p.prompt for p in suites["edit-success"].probes}
    assert own == {"plain": PLAIN.prompt, "behind": talk("velandor")}
    other = [p.prompt for p in suites["near-miss-subject"].probes if p.edit == "behind"]
    assert talk("quinomire") in other
    turns = [p.prompt for p in suites["near-miss-relation"].probes if p.edit == "behind"]
    assert talk("velandor").asked in turns
    assert {p.messages[0].content for p in turns if isinstance(p, Conversation)} == {
        "tell me about velandor"
    }
    result = gated(editor, cache, list(suites.values()))
    rows = {(r.suite, r.probe_id): r for r in result.probes}
    assert rows["edit-success", "own:behind"].passed
    assert rows["edit-success", "own:behind"].edit == "behind"
    assert rows["retention", "own:behind"].passed


def test_a_conversation_that_is_answered_wrongly_is_taken_out(
    backbone: Backbone, editor: Editor, cache: AnswerCache
) -> None:
    wanted = [
        s
        for s in suites_for(editor.version, SuiteInputs(targets={"behind": "jon", "plain": "tom"}))
        if s.name in ("edit-success", "locality")
    ]
    result = gated(editor, cache, wanted)
    assert [r.edit for r in result.rejected] == ["behind"]
    assert '"ada li", not "jon"' in result.rejected[0].reason
    assert list(result.version.edits) == ["plain"]


def test_a_suite_of_conversations_is_read_and_asked(
    editor: Editor, cache: AnswerCache, tmp_path: Path
) -> None:
    rows = [
        {"prompt": talk("velandor").as_json(), "expect": "exact", "value": "ada li"},
        {"prompt": talk("ostovic").as_json()},
        {"prompt": "who leads ostovic ?"},
    ]
    (tmp_path / "talks.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    [suite] = load_suites(tmp_path)
    assert (suite.problem, suite.probes[0].prompt) == ("", talk("velandor"))
    result = gated(editor, cache, [suite])
    assert [(r.passed, r.edit) for r in result.probes] == [
        (True, "behind"),
        (True, None),
        (True, None),
    ]
    again = gated(editor, cache, [suite])
    assert (again.regenerated, again.probes[0].cached) == (0, True)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ([{"role": "user"}], 'must have "role" and "content"'),
        ([{"role": "tool", "content": "x"}], 'has role "tool"'),
        ([{"role": "assistant", "content": "x"}], "no message of role user"),
        ({"role": "user", "content": "x"}, "got dict"),
    ],
)
def test_a_conversation_that_is_none_is_told_with_its_line(
    tmp_path: Path, prompt: object, said: str
) -> None:
    (tmp_path / "talks.jsonl").write_text(json.dumps({"prompt": prompt}) + "\n")
    [suite] = load_suites(tmp_path)
    assert said in suite.problem
    assert suite.problem.startswith("talks.jsonl")


def test_probes_of_conversations_are_known_by_all_their_messages() -> None:
    from tasks.gate.types import probe_hash

    assert probe_hash(talk("velandor")) != probe_hash(talk("ostovic"))
    assert probe_hash(talk("velandor")) != probe_hash(talk("velandor").asked)
    assert Probe("1", talk("velandor")) == Probe("1", talk("velandor"))
