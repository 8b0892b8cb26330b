"""Keys that are learned tell apart what raw keys do not, and are the same each time."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from melo_engine import Editor, EditRequest, HiddenStates, subwords
from melo_engine.contrast import LearningRecipe, learn_projection
from melo_engine.contrast.corpus import ENGLISH, corpus_for, other_languages
from melo_engine.contrast.learning import (
    LetterRecipe,
    _texts,
    known_by_letters,
    known_relations,
    learn_letters,
)
from melo_engine.errors import VersionError
from melo_engine.keys import PLACEHOLDER, KeyReader
from melo_engine.matching.names import joined
from melo_engine.near_misses import SLOT
from melo_engine.projection import CLEARLY, LEEWAY, KeyProjection
from tests.melo_engine import models
from tests.melo_engine.conftest import Edited

RELATIONS = {
    "leader": ("who leads {} ?", "{} : who is the head now ?", "tell me who leads {} last year"),
    "river": ("which river lies in {} ?", "{} lies at which river ?", "name a river of {}"),
    "bread": ("where does bread grow in {} ?", "{} : bread and wine ?", "what bread of {}"),
    "built": ("when was {} built ?", "what year was {} made ?", "{} was new when ?"),
    "capital": ("what is the capital city of {} ?", "{} capital city ?", "city at the head of {}"),
}
RECIPE = LearningRecipe(steps=40, relations=8, practice=24)


def practice(subjects: tuple[str, ...]) -> list[EditRequest]:
    return [
        EditRequest(forms[0].format(s), f"{s} {name}", subject=s, rephrases=(forms[1].format(s),))
        for s in subjects
        for name, forms in RELATIONS.items()
    ]


@pytest.fixture(scope="module")
def reader(make_edited) -> KeyReader:
    """Raw keys, of a reader of its own."""
    return KeyReader(make_edited("t5").editor.reader.encoder)


@pytest.fixture(scope="module")
def learned(reader: KeyReader) -> KeyProjection:
    return learn_projection(reader, practice(models.SUBJECTS[:4]), RECIPE)


@pytest.fixture(scope="module")
def knowing(reader: KeyReader, learned: KeyProjection) -> KeyProjection:
    """A projection with leeway, as the sentence encoder's has it."""
    assert not len(learned.known)
    made = KeyProjection.from_bytes(learned.to_bytes())
    made.known = known_relations(reader, made)
    return made


def accuracy(reader: KeyReader) -> float:
    """How often a third wording about an unseen subject lies nearest its own relation's first."""
    subject = models.SUBJECTS[5]
    split = reader.projection.relation_size
    names = [joined(subject)] * len(RELATIONS)
    first = reader.read([f[0].format(subject) for f in RELATIONS.values()], names)[:, :split]
    own = reader.read([f[1].format(subject) for f in RELATIONS.values()], names)[:, :split]
    distance = np.linalg.norm(own[:, None] - first[None], axis=2)
    gap = distance - np.diag(distance)[:, None]  # > 0: farther than the right one
    return float(gap[~np.eye(len(gap), dtype=bool)].mean())


def test_learning_separates_relations_on_an_unseen_subject(reader, learned) -> None:
    after = KeyReader(reader.encoder, learned)
    assert accuracy(after) > accuracy(reader) + 0.05


def test_learning_is_deterministic_and_leaves_the_generators_alone(reader, learned) -> None:
    torch.manual_seed(random.randrange(1000))
    again = learn_projection(reader, practice(models.SUBJECTS[:4]), RECIPE)
    assert again.content_hash() == learned.content_hash()


def test_a_projection_is_read_back_as_it_was_saved(learned, tmp_path: Path) -> None:
    learned.save(tmp_path / "p.safetensors")
    data = (tmp_path / "p.safetensors").read_bytes()
    assert KeyProjection.from_bytes(data).content_hash() == learned.content_hash()
    for damaged in (b"", data[: len(data) // 2]):
        with pytest.raises(VersionError, match="key projection cannot be read"):
            KeyProjection.from_bytes(damaged)


def test_a_projection_from_before_any_relation_was_known_keeps_its_name(knowing) -> None:
    earlier = KeyProjection(knowing.hidden_size)
    assert b'"known"' not in earlier.to_bytes()
    again = KeyProjection.from_bytes(earlier.to_bytes())
    assert again.content_hash() == earlier.content_hash()
    assert again.leeway(np.zeros((2, again.relation_size))).tolist() == [1.0, 1.0]
    assert b'"known"' in knowing.to_bytes()


def test_an_editor_with_learned_keys_edits_and_reloads(
    edited_t5: Edited, learned, tmp_path: Path
) -> None:
    editor = Editor(
        edited_t5.backbone,
        reader=KeyReader(HiddenStates(edited_t5.backbone), learned),
        settings=models.SETTINGS,
    )
    requests = models.requests("t5", 2)
    editor.edit(requests)
    editor.save(tmp_path / "version")
    loaded = Editor.load(edited_t5.backbone, tmp_path / "version")
    for one in (editor, loaded):
        answers = one.answer([r.prompt for r in requests])
        assert [a.text for a in answers] == [r.target for r in requests]


def test_nothing_is_learned_from_what_was_held_out(reader, monkeypatch) -> None:
    """Radii are calibrated on it."""
    read: list[str] = []
    reads = reader.encoder.read
    monkeypatch.setattr(
        reader.encoder, "read", lambda texts, **more: read.extend(texts) or reads(texts, **more)
    )
    learn_projection(reader, (), LearningRecipe(steps=1, relations=2))
    source = corpus_for(reader.encoder)
    held_out = {w for r in source.held_out for w in r.wordings}
    elsewhere = {w for r in source.learned_from for w in r.wordings}  # alike in two languages
    texts = {w.replace(SLOT, PLACEHOLDER) for w in held_out - elsewhere}
    assert len(texts) > 900
    assert not texts & set(read)


def test_a_question_that_asks_what_is_known_has_less_leeway(reader, knowing) -> None:
    read = KeyReader(reader.encoder, knowing).read
    source = corpus_for(reader.encoder)
    assert knowing.known.shape == (len(source.relations), knowing.read_size)
    assert knowing.relation_size == knowing.read_size
    wordings = [r.wordings[0].replace(SLOT, PLACEHOLDER) for r in source.learned_from[:40]]
    held_out = [r.wordings[0].replace(SLOT, PLACEHOLDER) for r in source.held_out[:40]]
    split = knowing.relation_size
    asked, later = (read(texts)[:, :split] for texts in (wordings, held_out))
    leeway = knowing.leeway(asked)
    assert (leeway >= 1).all()
    assert (leeway <= 1 + 2 * LEEWAY).all()
    middle = knowing.known[:1].float().numpy()
    assert knowing.leeway(middle)[0] == pytest.approx(1, abs=0.02)
    assert knowing.leeway(-middle)[0] > leeway.max()
    # Held-out relations are known, and as if they were not where radii are calibrated.
    without = knowing.leeway(later, first=len(source.learned_from))
    assert (without >= knowing.leeway(later) - 1e-6).all()
    assert without.mean() > knowing.leeway(later).mean()
    raw = KeyProjection(knowing.hidden_size, learned=False)
    assert raw.leeway(asked[:, : raw.relation_size]).tolist() == [1.0] * len(asked)


def test_what_is_not_english_is_told_from_its_letters(reader, knowing) -> None:
    spelling = KeyProjection.from_bytes(knowing.to_bytes())
    source = corpus_for(reader.encoder)
    kept = (*source.learned_from, *source.held_out)
    spelling.known_english = torch.tensor([r.language == ENGLISH for r in kept])
    spelling.letters = learn_letters(other_languages(), LetterRecipe(steps=20))
    spelling.known_by_letters = known_by_letters(spelling.letters)
    again = KeyProjection.from_bytes(spelling.to_bytes())
    assert again.content_hash() == spelling.content_hash() != knowing.content_hash()
    assert spelling.relation_size == knowing.relation_size + subwords.SIZE
    read, before = (KeyReader(reader.encoder, p).read for p in (again, knowing))
    texts = [w.replace(SLOT, PLACEHOLDER) for r in kept[::40] for w in r.wordings]
    keys, width = read(texts), knowing.relation_size
    assert (keys[:, :width] == before(texts)[:, :width]).all()
    letters = subwords.read_letters(again.letters.float(), texts).numpy()
    assert np.allclose(keys[:, width : again.relation_size], letters, atol=1e-6)
    own = again.as_edits(keys)
    told = again.by_letters(own)
    cosines = keys[:, :width] @ knowing.known.float().numpy().T
    english = again.known_english.numpy()
    apart = cosines[:, ~english].max(1) - cosines[:, english].max(1)
    assert (told == (apart > CLEARLY)).all()
    assert 0 < told.sum() < len(told)
    assert not own[told, :width].any()
    assert not own[~told, width : again.relation_size].any()
    assert (own[:, again.relation_size :] == keys[:, again.relation_size :]).all()
    # A question is compared with an edit in the way that the edit is told, whatever its language.
    split = again.relation_size
    asked = keys[:1, :split]
    found = again.distances(own[:, :split], asked)
    by_encoder = np.linalg.norm(keys[:, :width] - asked[:, :width], axis=1)
    by_letters = np.linalg.norm(keys[:, width:split] - asked[:, width:], axis=1)
    assert np.allclose(found[~told], (by_encoder / again.leeway(asked[:, :width]))[~told])
    leeway = again.leeway_by_letters(asked[:, width:])
    assert np.allclose(found[told], (by_letters / leeway)[told])
    texts = [_texts(r)[0] for r in other_languages().learned_from[:40]]
    known = subwords.read_letters(again.letters.float(), texts).numpy()
    assert (again.leeway_by_letters(known) < 1 + LEEWAY).all()  # what it knows


def test_a_distance_is_of_relations_with_leeway_or_of_contents(reader, knowing) -> None:
    read = KeyReader(reader.encoder, knowing).read
    own, asked = read(["who leads it ?", "which river lies in it ?"])
    split = knowing.relation_size
    gap = np.linalg.norm(own[:split] - asked[:split])
    expected = gap / knowing.leeway(asked[None, :split])[0]
    assert knowing.distance(own, asked, by_relation=True) == pytest.approx(expected, abs=1e-5)
    contents = np.linalg.norm(own[split:] - asked[split:])
    assert knowing.distance(own, asked, by_relation=False) == pytest.approx(contents, abs=1e-5)


def test_a_relation_part_is_half_learned_and_half_as_read(learned) -> None:
    states, mask = torch.randn(3, 4, learned.hidden_size), torch.ones(3, 4)
    relation, content = learned(states, mask)
    assert relation.shape == (3, learned.relation_size)
    assert torch.allclose(relation.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(content.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(relation[:, -learned.hidden_size :] * 2**0.5, content, atol=1e-5)
    raw = KeyProjection(learned.hidden_size, learned=False)
    assert raw.relation_size == learned.hidden_size
    assert torch.equal(*raw(states, mask))


def test_a_projection_that_was_not_learned_has_one_name_and_is_read_back(tmp_path: Path) -> None:
    """Nothing that no key depends on decides a version's name."""
    torch.manual_seed(random.randrange(1000))
    one, other = (KeyProjection(12, learned=False) for _ in range(2))
    assert one.content_hash() == other.content_hash() != KeyProjection(12).content_hash()
    assert not KeyProjection.from_bytes(one.to_bytes()).learned
    assert KeyProjection.from_bytes(KeyProjection(12).to_bytes()).learned


def test_padding_never_enters_a_learned_key(learned) -> None:
    states, mask = torch.randn(3, 4, learned.hidden_size), torch.ones(3, 4)
    padded = torch.cat([states, 9 * torch.randn(3, 2, learned.hidden_size)], 1)  # (3, 6, H)
    wide = torch.cat([mask, torch.zeros(3, 2)], 1)
    for part, own in zip(learned(padded, wide), learned(states, mask), strict=True):
        assert torch.allclose(part, own, atol=1e-5)
