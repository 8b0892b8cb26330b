"""Subjects told from letters, of questions and names that the corpus does not have."""

from __future__ import annotations

import pytest
import torch

from melo_engine.contrast.corpus import other_languages
from melo_engine.matching.inference import SubjectTagger, best_span
from melo_engine.matching.letter_tagger import LetterTagger, learn_letter_tagger
from melo_engine.near_misses import SLOT

# Written without a look at the corpus.
QUESTIONS = {
    "Wie hoch ist die Grundgebühr beim Tarif Flexora Mini?": "Flexora Mini",
    "Bis wann kann ich meine Bestellung bei Möbelhaus Tandrik stornieren?": "Tandrik",
    "Quel est le délai de livraison chez Verdanel ?": "Verdanel",
    "Qui dirige la société Ostremont aujourd'hui ?": "Ostremont",
    "¿Cuánto cuesta el envío urgente con Paquelia Express?": "Paquelia Express",
    "¿Quién es la esposa del pintor Ramiro Solbeza?": "Ramiro Solbeza",
    "Quanto dura la garanzia della lavatrice Brismo 400?": "Brismo 400",
    "In che città ha sede Caffarel Nuvoli?": "Caffarel Nuvoli",
    "Qual é o horário de atendimento da Seguradora Marvila Norte?": "Marvila Norte",
    "Quem fundou a Tordesil?": "Tordesil",
    "Ile kosztuje bilet miesięczny w Kolejach Zadwórzańskich?": "Kolejach Zadwórzańskich",
    "Kto napisał powieść Cienie Wierzbna?": "Cienie Wierzbna",
    "Kuzuluk Telekom faturası en geç ne zaman ödenir?": "Kuzuluk Telekom",
    "Сколько стоит подписка на Вельмар Плюс?": "Вельмар Плюс",
    "Кто возглавляет компанию Лунгарь?": "Лунгарь",
    "من يدير شركة زرنوق القابضة؟": "زرنوق القابضة",
}


@pytest.fixture(scope="module")
def letters() -> LetterTagger:
    return learn_letter_tagger()


def test_questions_not_learned_from_are_not_in_the_corpus() -> None:
    wordings = {
        w.replace(SLOT, subject)
        for r in other_languages().relations
        for w in r.wordings
        for subject in QUESTIONS.values()
    }
    names = {name for names in other_languages().subjects.values() for name in names}
    assert wordings.isdisjoint(QUESTIONS)
    assert names.isdisjoint(QUESTIONS.values())


def test_most_subjects_are_told_by_letters_alone(letters: LetterTagger) -> None:
    told = {text: best_span(text, *letters.read(text)) for text in QUESTIONS}
    missed = {
        text: told[text] for text, name in QUESTIONS.items() if name not in (told[text] or "")
    }
    exact = sum(told[text] == name for text, name in QUESTIONS.items())
    assert len(missed) <= 3, missed  # of 16
    assert exact >= 8, told


def test_it_is_read_from_its_file_as_it_was_written(letters: LetterTagger) -> None:
    tagger = SubjectTagger(8, letters).eval()
    again = SubjectTagger.from_bytes(tagger.to_bytes())
    assert again.letters is not None
    for text in (*QUESTIONS, "", "?!", "東京の天気は？"):
        assert again.letters.read(text) == letters.read(text)
    without = SubjectTagger.from_bytes(SubjectTagger(8).to_bytes())
    assert without.letters is None


def test_learning_is_deterministic_and_leaves_the_generators_alone(
    letters: LetterTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("melo_engine.matching.letter_tagger.EPOCHS", 1)
    before = torch.get_rng_state()
    first, again = learn_letter_tagger(3), learn_letter_tagger(3)
    assert torch.equal(torch.get_rng_state(), before)
    for own, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(own, other)
