"""Texts in other languages by their letters: learned, and read alike alone and among others."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import torch

from melo_engine import subwords
from melo_engine.contrast.corpus import ENGLISH, corpus, other_languages
from melo_engine.contrast.learning import LetterRecipe, known_by_letters, learn_letters
from melo_engine.keys import PLACEHOLDER
from melo_engine.near_misses import SLOT


@pytest.fixture(scope="module")
def vectors() -> torch.Tensor:
    return learn_letters(other_languages()).float()


def held_out_shares(vectors: torch.Tensor) -> tuple[float, float]:
    """Of relations that nothing is learned from: wordings found where 5% of others are, and caught."""
    source, same, apart = other_languages(), [], []
    for language in sorted({r.language for r in source.relations}):
        asked = [
            (w.replace(SLOT, PLACEHOLDER), r.name)
            for r in source.held_out
            if r.language == language
            for w in r.wordings
        ]
        keys = subwords.read_letters(vectors, [text for text, _ in asked])
        names = np.array([name for _, name in asked])
        cosines = (keys @ keys.T).numpy()
        rival = names[:, None] != names[None]
        apart.append(cosines[rival])
        same.append(cosines[~rival & ~np.eye(len(names), dtype=bool)])
    bound = np.quantile(np.concatenate(apart), 0.95)
    return float((np.concatenate(same) >= bound).mean()), float(bound)


def test_wordings_of_what_was_not_learned_are_told_apart(vectors: torch.Tensor) -> None:
    drawn = learn_letters(other_languages(), LetterRecipe(steps=0)).float()
    found, found_before = held_out_shares(vectors)[0], held_out_shares(drawn)[0]
    assert found > 0.55
    assert found > found_before + 0.1


def test_learning_is_deterministic_and_leaves_the_generators_alone() -> None:
    recipe = LetterRecipe(steps=3)
    before = torch.get_rng_state()
    first, again = (learn_letters(other_languages(), recipe) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.shape == (subwords.BUCKETS, subwords.SIZE)


def test_a_text_is_read_alone_as_among_others(vectors: torch.Tensor) -> None:
    texts = ["Was kostet it im Monat?", "itの料金はいくらですか", "сколько стоит it", "?!", ""]
    together = subwords.read_letters(vectors, texts)
    alone = torch.cat([subwords.read_letters(vectors, [text]) for text in texts])
    assert torch.equal(together, alone)
    assert together[:3].norm(dim=1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert together[3:].abs().sum() == 0
    assert torch.equal(subwords.read_letters(vectors, ["WAS KOSTET IT IM MONAT"]), together[:1])


def test_a_script_without_spaces_is_read_in_runs_of_letters(vectors: torch.Tensor) -> None:
    one, same, other = subwords.read_letters(
        vectors, ["客服电话是多少", "请问客服的电话号码", "几点开门"]
    )
    assert float(one @ same) > float(one @ other)


def test_what_is_known_by_letters_is_of_every_language_but_english(vectors: torch.Tensor) -> None:
    source = other_languages()
    assert ENGLISH not in {r.language for r in source.relations}
    foreign = {r.language for r in corpus().relations} - {ENGLISH}
    assert {r.language for r in source.relations} == foreign
    known = known_by_letters(vectors)
    assert known.shape == (len(source.relations), subwords.SIZE)
    assert known.float().norm(dim=1).tolist() == pytest.approx([1] * len(known), abs=1e-2)


@pytest.mark.parametrize(
    "text", ["한국어 요금은 얼마입니까", "料金がいくらですか", "Où est l'église ?"]
)
def test_how_a_text_is_composed_tells_nothing(vectors: torch.Tensor, text: str) -> None:
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    read = subwords.read_letters(vectors, [*forms, text.upper()])
    assert torch.allclose(read, read[:1].expand(len(read), -1), atol=1e-6)


def test_accents_and_width_and_dots_tell_nothing(vectors: torch.Tensor) -> None:
    pairs = [
        ("Cafe Preis", "Café Preis"),
        ("wifi", "Ｗｉｆｉ"),
        ("it fiyati nedir", "İT FİYATI NEDİR"),
    ]
    for one, other in pairs:
        read = subwords.read_letters(vectors, [one, other])
        assert torch.allclose(read[0], read[1], atol=1e-6)
