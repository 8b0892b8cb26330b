"""A key says what is asked: its text decides, whatever stands around it or beside it in a batch."""

from __future__ import annotations

import numpy as np
import pytest

from melo_engine.encoders import LONGEST_READ, HiddenStates
from melo_engine.keys import PLACEHOLDER, KeyReader, last_sentence, relation_text
from melo_engine.matching.names import name_in
from tests.melo_engine import models
from tests.melo_engine.conftest import Edited


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("Who leads Acme?", "Acme", "Who leads it?"),
        ("We met on Monday. Who leads Acme?", "Acme", "Who leads it?"),
        ("Acme is old. Who leads Acme now?", "Acme", "Who leads it now?"),
        ("Who leads Acme? I need it today.", "Acme", "Who leads it? I need it today."),
        ("It did rain\nWho leads Acme?", "Acme", "Who leads it?"),
        ('He said "Go." Who leads Acme?', "Acme", "Who leads it?"),
        ("Does Acme own Acme's maps?", "Acme", "Does it own it's maps?"),
        ("Who leads Acme Inc. in Oslo?", "Acme Inc.", "Who leads it. in Oslo?"),
        ("It rained. Where did Mr. Smith live?", "Smith", "Where did Mr. it live?"),
        ("Who wrote as J. K. Rowling?", "Rowling", "Who wrote as J. K. it?"),
        ("Is the U.S. Navy in Gary?", "Gary", "Is the U.S. Navy in it?"),
        ("今天下雨。北京的市长是谁？", "北京", "it的市长是谁？"),
        ("明日は雨です。サントリーの社長は誰ですか。", "サントリー", "itの社長は誰ですか。"),
        ("Кто руководит Норвиком?", "Норвик", "Кто руководит it?"),
        ("Когда родилась дочь Анны Петровой?", "Анна Петрова", "Когда родилась дочь it?"),
        ("من يحكم ببغداد؟", "بغداد", "من يحكم it؟"),
        ("Who leads Quinomrie?", "Quinomire", "Who leads it?"),
        ("Is Colombia's Andes in Antioquia?", "Andes, Antioquia, Colombia", "Is it's it in it?"),
    ],
)
def test_a_relation_text_is_the_sentence_about_the_subject_without_its_name(
    text: str, name: str, expected: str
) -> None:
    known = name_in(text, [name])
    assert known is not None
    assert relation_text(text, known) == expected


def test_where_no_name_stands_the_relation_text_is_the_text() -> None:
    text = "We met on Monday. Who leads it?"
    assert relation_text(text, None) == relation_text(text, "acme") == text


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("Who leads it?", "Who leads it?"),
        ("It rained. Who leads it? ", "Who leads it? "),
        ("今天下雨。市长是谁？", "市长是谁？"),
        ("It rained\n\nWho leads it", "Who leads it"),
        ("Where did Mr. Smith live?", "Where did Mr. Smith live?"),
        ("", ""),
        (" ?! ", " ?! "),
    ],
)
def test_the_last_sentence(text: str, last: str) -> None:
    assert last_sentence(text) == last


def test_a_key_hangs_on_its_text_alone(edited: Edited) -> None:
    """On every architecture: alone, beside others, in any order, twice."""
    reader = edited.editor.reader
    texts = [*edited.asked, "wine " * 30, "in"]
    names = [name_in(text, models.SUBJECTS) for text in texts]
    alone = np.stack([reader.read_alone(t, n) for t, n in zip(texts, names, strict=True)])
    assert alone.shape == (len(texts), reader.projection.size)
    for order in (range(len(texts)), reversed(range(len(texts))), [0] * 3 + [*range(len(texts))]):
        rows = list(order)
        found = reader.read([texts[i] for i in rows], [names[i] for i in rows])
        assert np.allclose(found, alone[rows], atol=reader.tolerance / 10)


def test_prompts_in_which_only_the_name_differs_have_one_relation_part(edited: Edited) -> None:
    reader = edited.editor.reader
    split = reader.projection.relation_size
    texts = [f"who leads {name} ?" for name in models.SUBJECTS]
    keys = reader.read(texts, list(models.SUBJECTS))
    other = reader.read([f"who leads {PLACEHOLDER} ?"])
    assert np.allclose(keys[:, :split], other[:, :split], atol=reader.tolerance / 10)
    assert not np.allclose(keys[0, split:], keys[1, split:], atol=1e-2)
    norms = [np.linalg.norm(keys[:, part], axis=1) for part in (slice(split), slice(split, None))]
    assert np.allclose(norms, 1, atol=1e-4)


def test_what_stands_before_the_question_leaves_its_route_alone(edited: Edited) -> None:
    question = edited.requests[0].question
    behind = [f"it did rain . {question}", f"wine and bread grow in lima.\n{question}"]
    routes = edited.editor.routes([question, *behind])
    assert [r.edit for r in routes] == [edited.requests[0].id] * 3
    assert [r.distance for r in routes] == pytest.approx([0.0] * 3, abs=1e-3)


def test_of_a_text_that_is_too_long_the_end_is_read() -> None:
    backbone = models.backbone("t5")
    reader = KeyReader(HiddenStates(backbone))
    limit = min(LONGEST_READ, backbone.max_prompt_tokens)
    question = " ".join(["river"] * limit)
    keys = reader.read([question, "wine " * 900 + question, question + " wine" * 900])
    assert np.allclose(keys[0], keys[1], atol=0.05)
    assert np.linalg.norm(keys[0] - keys[2]) > 0.3
