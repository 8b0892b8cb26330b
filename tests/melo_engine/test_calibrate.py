"""Radii are measured on what ships, and cut where a probe that came with the edit is near."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from melo_engine import Calibration, Editor, EditRequest, subwords
from melo_engine.calibrate import (
    CLEARANCE,
    LEEWAY_RESERVE,
    LETTERS_SHARE,
    RELATION_RESERVE,
    SUBJECT_SHARE,
    Radii,
    calibrate,
    radii,
)
from melo_engine.contrast import LearningRecipe, learn_projection
from melo_engine.contrast.corpus import ENGLISH, corpus_for, other_languages
from melo_engine.contrast.learning import known_by_letters, known_relations, learn_letters
from melo_engine.keys import PLACEHOLDER, KeyReader
from melo_engine.matching.names import name_in
from melo_engine.near_misses import SLOT
from melo_engine.projection import KeyProjection
from tests.melo_engine import models
from tests.melo_engine.conftest import Edited

WIDE = Calibration(9.0, 9.0, 8.0, 0.005)
BARE = Calibration(9.0, 9.0, 0.0, 0.005)


@pytest.fixture
def reader(edited_t5: Edited) -> KeyReader:
    return edited_t5.editor.reader


@pytest.fixture(scope="module")
def learned(make_edited) -> KeyReader:
    """A reader of the T5's states whose projection was learned a little."""
    encoder = make_edited("t5").editor.reader.encoder
    recipe = LearningRecipe(steps=10, relations=8)
    return KeyReader(encoder, learn_projection(KeyReader(encoder), (), recipe))


@pytest.fixture(scope="module")
def calibrations(learned: KeyReader) -> dict[float, Calibration]:
    return {share: calibrate(learned, share) for share in (0.0, 0.005, 0.05)}


def test_keys_that_nothing_was_learned_for_have_fixed_radii(reader: KeyReader) -> None:
    found = calibrate(reader, 0.02)
    assert found == Calibration.raw(0.02)
    assert (found.sample, found.partly, found.false_activations) == (0, 0.0, 0.02)


def test_radii_grow_with_the_share_that_is_allowed(calibrations) -> None:
    found = [calibrations[share] for share in sorted(calibrations)]
    for name in ("bound", "free", "partly"):
        sizes = [getattr(c, name) for c in found]
        assert sizes == sorted(sizes)
        assert sizes[-1] < 2
    assert found[0].bound < found[1].bound < found[2].bound
    assert [c.false_activations for c in found] == sorted(calibrations)
    assert all(c.sample > 100_000 for c in found)


def test_relations_that_were_held_out_stay_within_the_allowance(learned, calibrations) -> None:
    """Measured once more: held-out wordings of different relations about one subject."""
    rows = [
        (relation.name, wording.replace(SLOT, PLACEHOLDER))
        for relation in corpus_for(learned.encoder).held_out
        if relation.language == ENGLISH
        for wording in relation.wordings
    ]
    keys = learned.read([text for _, text in rows])[:, : learned.projection.relation_size]
    names = np.array([name for name, _ in rows])
    first, second = np.triu_indices(len(rows), 1)
    other = names[first] != names[second]
    gaps = np.linalg.norm(keys[first[other]] - keys[second[other]], axis=1)
    for share, found in calibrations.items():
        caught = float((gaps < found.bound - 1e-5).mean())
        allowed = share * (SUBJECT_SHARE + 1)  # nine prompts about other subjects for each of these
        assert caught <= allowed * (1 - RELATION_RESERVE) + 0.005  # keys that lie at one place
        assert caught >= allowed * (1 - RELATION_RESERVE) * 0.9 or share == 0


def test_radii_take_most_of_the_allowance_where_questions_have_leeway(learned: KeyReader) -> None:
    projection = KeyProjection.from_bytes(learned.projection.to_bytes())
    projection.known = known_relations(learned, projection)
    reader = KeyReader(learned.encoder, projection)
    rows = [
        (relation.name, wording.replace(SLOT, PLACEHOLDER))
        for relation in corpus_for(learned.encoder).held_out
        if relation.language == ENGLISH
        for wording in relation.wordings
    ]
    keys = reader.read([text for _, text in rows])[:, : projection.relation_size]
    leeway = projection.leeway(keys, first=len(corpus_for(learned.encoder).learned_from))
    names = np.array([name for name, _ in rows])
    apart = np.sqrt(np.maximum(2 - 2 * keys @ keys.T, 0)) / leeway[:, None]
    caught = float((apart[names[:, None] != names] < calibrate(reader, 0.005).bound - 1e-5).mean())
    allowed = 0.005 * (SUBJECT_SHARE + 1) * (1 - LEEWAY_RESERVE)
    assert 0.9 * allowed <= caught <= allowed + 0.005  # keys that lie at one place


@pytest.fixture(scope="module")
def spelling(learned: KeyReader) -> KeyReader:
    """A reader that tells other languages' texts from their letters."""
    projection = KeyProjection.from_bytes(learned.projection.to_bytes())
    projection.known = known_relations(learned, projection)
    projection.known_english = torch.arange(len(projection.known)) % 2 == 0
    projection.letters = learn_letters(other_languages())
    projection.known_by_letters = known_by_letters(projection.letters)
    return KeyReader(learned.encoder, projection)


def test_radii_by_letters_keep_twice_the_allowance_in_other_languages(
    learned: KeyReader, spelling: KeyReader
) -> None:
    assert calibrate(learned, 0.005).by_letters is None
    found, source, projection = calibrate(spelling, 0.005), other_languages(), spelling.projection
    caught = []
    for language in {relation.language for relation in source.held_out}:
        rows = [
            (relation.name, wording.replace(SLOT, PLACEHOLDER))
            for relation in source.held_out
            if relation.language == language
            for wording in relation.wordings
        ]
        keys = subwords.read_letters(projection.letters.float(), [text for _, text in rows]).numpy()
        names = np.array([name for name, _ in rows])
        apart = np.linalg.norm(keys[:, None] - keys[None], axis=2)
        apart /= projection.leeway_by_letters(keys, first=len(source.learned_from))[:, None]
        caught.append(apart[names[:, None] != names] < found.by_letters)
    allowed = LETTERS_SHARE * 0.005 * (SUBJECT_SHARE + 1)
    assert float(np.concatenate(caught).mean()) == pytest.approx(allowed, abs=0.002)
    assert calibrate(spelling, 0.0005).by_letters < found.by_letters
    most = calibrate(spelling, 0.05).by_letters
    assert most == calibrate(spelling, 0.1).by_letters < 1  # however much is allowed


def test_an_edit_has_the_radius_of_what_its_question_is_read_by(spelling: KeyReader) -> None:
    common = Calibration(0.7, 0.5, 0.0, 0.005, by_letters=0.9)
    requests = [EditRequest(f"who leads {s} ?", "ada", subject=s) for s in models.SUBJECTS[:2]]
    keys = np.zeros((2, spelling.projection.size), dtype=np.float32)
    keys[0, 0] = keys[1, spelling.projection.read_size] = 1.0
    assert [r.own for r in radii(requests, keys, common, spelling, False)] == [0.7, 0.9]
    assert "by_letters" in common.as_dict()
    assert "by_letters" not in BARE.as_dict()
    assert Calibration(**BARE.as_dict()) == BARE


def test_a_calibration_hangs_on_encoder_projection_and_allowance_alone(
    edited_t5: Edited, learned: KeyReader, calibrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on what is edited, nor in which order, nor on what else was asked."""
    expected = calibrations[0.005]
    assert calibrate(KeyReader(learned.encoder, learned.projection), 0.005) == expected
    editor = Editor(edited_t5.backbone, reader=learned, settings=models.SETTINGS)
    assert editor.version.calibration == editor.calibration() == expected
    monkeypatch.setattr("melo_engine.editor.calibrate", None)  # made once, then kept
    for request in edited_t5.requests:
        editor.edit([request])
        assert editor.version.calibration == expected
    assert {e.radius for e in editor.version.edits.values()} == {expected.bound}


def test_a_calibration_is_made_anew_where_another_share_is_allowed(
    edited_t5: Edited, learned: KeyReader, calibrations
) -> None:
    editor = Editor(edited_t5.backbone, reader=learned, settings=models.SETTINGS)
    editor.edit(edited_t5.requests[:1])
    editor.settings = replace(models.SETTINGS, false_activations=0.05)
    assert editor.calibration() == calibrations[0.05]
    editor.edit(edited_t5.requests[1:2])
    assert editor.version.calibration == calibrations[0.05]
    assert editor.version["edit-1"].radius == calibrations[0.05].bound
    assert editor.version["edit-0"].radius == calibrations[0.005].bound
    editor.settings = models.SETTINGS
    assert editor.calibration() == calibrations[0.005]


def test_what_is_given_is_taken_where_it_is_for_the_same_share(edited_t5: Edited) -> None:
    given = Calibration(0.1, 0.2, 0.0, 0.005)
    assert Editor(edited_t5.backbone, calibration=given).calibration() == given
    other = replace(given, false_activations=0.5)
    assert Editor(edited_t5.backbone, calibration=other).calibration() == Calibration.raw(0.005)


def test_a_locality_probe_stays_outside_the_radius_of_its_edit(reader: KeyReader) -> None:
    request = EditRequest("who leads velandor ?", "ada", subject="velandor", id="a")
    near, far = "who leads velandor now ?", "who leads toriquet now ?"
    split = reader.projection.relation_size
    keys = reader.read([request.question, near], ["velandor"] * 2)
    gap = float(np.linalg.norm(keys[0, :split] - keys[1, :split]))
    bound, free = (
        radii([r], keys[:1], BARE, reader, continues=False)[0].own
        for r in (
            replace(request, locality=(near, far)),
            replace(request, subject=None, locality=(near, far)),
        )
    )
    assert bound == pytest.approx(CLEARANCE * gap, abs=1e-4)
    assert free < 9.0
    others = replace(request, locality=(far, " "))
    assert radii([others], keys[:1], BARE, reader, continues=False) == [Radii(9.0, 0.0)]
    narrow = replace(BARE, bound=0.3)
    assert radii([request], keys[:1], narrow, reader, continues=False) == [Radii(0.3, 0.0)]


def test_probes_that_cannot_reach_an_edit_are_not_even_read(
    reader: KeyReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = EditRequest("who leads velandor ?", "ada", "velandor", locality=("wine and bread",))
    keys = reader.read([request.question], ["velandor"])
    monkeypatch.setattr(reader, "read", None)
    assert radii([request], keys, BARE, reader, continues=True) == [Radii(9.0, 0.0)]


def test_every_wording_of_an_edit_keeps_clear_of_its_locality_probes(edited_t5: Edited) -> None:
    subject = models.SUBJECTS[0]
    wording, probe = f"what city is at the head of {subject} ?", f"what city is at {subject} ?"
    request = replace(edited_t5.requests[0], rephrases=(wording,))
    loose = Calibration(1.5, 1.5, 0.0, models.SETTINGS.false_activations)
    for locality, caught in (((), True), ((probe,), False)):
        editor = Editor(edited_t5.backbone, settings=models.SETTINGS, calibration=loose)
        editor.edit([replace(request, locality=locality)])
        answers = editor.answer([wording, probe])
        assert [a.edit for a in answers] == [request.id, request.id if caught else None]
        [found] = editor.version[request.id].wordings
        assert (found.radius == 1.5) is caught
    plain = Editor(edited_t5.backbone, settings=models.SETTINGS, calibration=loose)
    plain.edit([replace(request, rephrases=(), locality=(probe,))])
    plain.add_wordings(request.id, [wording])
    assert [a.edit for a in plain.answer([wording, probe])] == [request.id, None]


def test_a_described_subject_may_be_named_partly_within_a_radius_of_its_own(
    reader: KeyReader,
) -> None:
    subject = "oldest stone bridge of the country"
    request = EditRequest(f"where is the {subject} ?", "rome", subject=subject)
    named = EditRequest("where is velandor ?", "rome", subject="velandor")
    keys = reader.read(
        [request.question, named.question], [name_in(request.question, request.names), "velandor"]
    )
    described = [replace(request, aliases=("The Bridge",)), named]
    found = radii(described, keys, WIDE, reader, continues=False)
    assert found == [Radii(9.0, 8.0), Radii(9.0, 0.0)]
    probe = "which bridge of stone is oldest ?"  # names it partly: only the content radius is cut
    content = slice(reader.projection.relation_size, None)
    gap = np.linalg.norm(reader.read([probe])[0, content] - keys[0, content])
    probed = [replace(described[0], locality=(probe,))]
    [cut] = radii(probed, keys[:1], WIDE, reader, continues=False)
    assert cut == (9.0, pytest.approx(CLEARANCE * gap, abs=1e-4), False)


def test_a_question_that_stands_for_its_subject_stays_clear_of_the_one_without(
    reader: KeyReader,
) -> None:
    request = EditRequest("where does old velandor keep the stone ?", "rome", subject="velandor")
    keys = reader.read([request.question], ["velandor"])
    content = slice(reader.projection.relation_size, None)
    without = reader.read(["where does old something keep the stone ?"])
    gap = np.linalg.norm(without[0, content] - keys[0, content])
    [found] = radii([request], keys, WIDE, reader, continues=False)
    assert found == (9.0, pytest.approx(CLEARANCE * gap, abs=1e-4), True)
    also = replace(request, aliases=("stone",))  # by which the question would still name it
    assert radii([also], keys, WIDE, reader, continues=False) == [Radii(9.0, 8.0, True)]


def test_a_passage_reaches_half_the_way_to_where_it_ends_otherwise(reader: KeyReader) -> None:
    """Only on a model that goes on from where a prompt ends."""
    passage = EditRequest(
        "velandor is a city . a river lie in the north . last year bread did grow .",
        "wine in rome",
        subject="velandor",
    )
    keys = reader.read([passage.question], ["velandor"])
    [anywhere] = radii([passage], keys, BARE, reader, continues=False)
    [here] = radii([passage], keys, BARE, reader, continues=True)
    assert anywhere.own == 9.0
    split = reader.projection.relation_size
    later = reader.read([f"{passage.question} wine"], ["velandor"])
    gap = float(np.linalg.norm((later - keys)[0, :split]))
    assert here.own <= 0.5 * gap + 1e-4
