"""The contrast corpus is whole, and nothing that is measured on stands in it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from melo_engine.contrast import corpus_hash
from melo_engine.contrast.corpus import ENGLISH, Relation, corpus, corpus_for, labelled_wordings
from melo_engine.encoders import SentenceEncoder, encoder_named
from melo_engine.near_misses import SLOT, template_of
from tests.melo_engine.conftest import Edited
from text import normalize_question

DATA = Path(__file__).parents[4] / "shared" / "data"


def named(relation: Relation) -> str:
    return f"{relation.language}/{relation.name}"


def test_every_wording_has_the_slot_once_and_stands_once_in_its_language() -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for relation in corpus().relations:
        assert len(relation.wordings) >= 4, named(relation)
        for wording in relation.wordings:
            assert wording.count(SLOT) == 1, (named(relation), wording)
            assert wording.replace(SLOT, "").strip(" ?？。."), (named(relation), wording)
            seen[relation.language, normalize_question(wording)] += 1
    assert [wording for wording, count in seen.items() if count > 1] == []


def test_every_kind_of_subject_has_names_and_every_language_stray_sentences() -> None:
    source = corpus()
    assert len({r.language for r in source.relations}) == 13
    for relation in source.relations:
        assert len(set(source.subjects[relation.language, relation.kind])) >= 5, named(relation)
        assert source.noise[relation.language]


def test_every_language_has_relations_held_out_and_relations_to_learn_from() -> None:
    source = corpus()
    assert not set(source.held_out) & set(source.learned_from)
    assert len(source.held_out) + len(source.learned_from) == len(source.relations)
    for part in (source.held_out, source.learned_from):
        assert {r.language for r in part} == {r.language for r in source.relations}
    rows = labelled_wordings(source, 0, "it")
    learned = {text for text, _, kind in rows if kind.startswith(f"{ENGLISH}/")}
    assert len(learned) > 1000
    english = {r.name for r in source.learned_from if r.language == ENGLISH}
    for relation in source.held_out:
        if relation.language == ENGLISH:
            assert relation.name not in english
            assert not {w.replace(SLOT, "it") for w in relation.wordings} & learned


def test_services_are_for_the_sentence_encoder_alone(edited_t5: Edited) -> None:
    states = edited_t5.editor.reader.encoder
    sentences = encoder_named(SentenceEncoder.name, edited_t5.editor.backbone)
    assert corpus_for(states) == corpus(services=False)
    assert corpus_for(sentences) == corpus() != corpus_for(states)
    assert set(corpus_for(states).relations) < set(corpus().relations)
    assert corpus_hash(sentences) != corpus_hash(states)
    assert corpus() is corpus()


@pytest.mark.skipif(not DATA.is_dir(), reason="the public edit sets are not at hand")
@pytest.mark.parametrize("name", ["counterfact", "zsre", "qaedit"])
def test_no_wording_stands_word_for_word_in_a_public_edit_set(name: str) -> None:
    wordings = {
        normalize_question(w): w
        for r in corpus().relations
        if r.language == ENGLISH
        for w in r.wordings
    }
    found = set()
    for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for prompt in (row["prompt"], *row["rephrases"]):
            template = template_of(prompt, row["subject"]) if row["subject"] else None
            if template and normalize_question(template) in wordings:
                found.add(wordings[normalize_question(template)])
    assert sorted(found) == []
