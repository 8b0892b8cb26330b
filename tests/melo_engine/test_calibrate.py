"""Radii are measured on near-misses, and cut where a probe that came with the edit is near."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from melo_engine import EditRequest, calibrate
from melo_engine.calibrate import (
    CLEARANCE,
    FALLBACK_BOUND,
    FALLBACK_FREE,
    MISSES,
    Radii,
    Reach,
    measure_reach,
    radii,
)
from melo_engine.keys import KeyReader
from melo_engine.matching.names import name_in
from melo_engine.near_misses import NearMisses
from tests.melo_engine import models

WORDINGS = ("who leads {} ?", "which river lies in {} ?", "where was {} built ?")


@pytest.fixture
def reader(edited_t5) -> KeyReader:
    return edited_t5.editor.reader


@pytest.fixture
def requests() -> list[EditRequest]:
    return [
        EditRequest(wording.format(f"{name} {side}"), f"{name} {i}", subject=f"{name} {side}")
        for name in models.SUBJECTS
        for i, (wording, side) in enumerate(zip(WORDINGS, ("north", "south", "east"), strict=True))
    ]


def test_where_there_is_nothing_to_measure_on_the_fallback_holds(reader: KeyReader) -> None:
    assert measure_reach(reader, models.requests("t5", 2), 0.005) == (
        Reach(FALLBACK_BOUND, FALLBACK_FREE)
    )


def test_the_reach_grows_with_the_share_that_is_allowed(reader, requests) -> None:
    found = [measure_reach(reader, requests, share) for share in (0.0, 0.01, 0.05, 0.1)]
    assert [r.bound for r in found] == sorted(r.bound for r in found)
    assert [r.free for r in found] == sorted(r.free for r in found)
    assert found[0].bound < found[-1].bound
    assert measure_reach(reader, requests, 0.01) == found[1]


def test_the_reach_catches_no_more_near_misses_than_allowed(reader, requests) -> None:
    reach = measure_reach(reader, requests, 0.02)
    near = NearMisses(requests)
    pairs = [(r.prompt, miss) for r in requests for miss in near.other_relations(r, 4)]
    names = [name_in(r.prompt, r.names) for r in requests for _ in near.other_relations(r, 4)]
    split = reader.projection.relation_size
    own, other = (reader.read(list(side), names) for side in zip(*pairs, strict=True))
    caught = np.linalg.norm(own[:, :split] - other[:, :split], axis=1) <= reach.bound + 1e-6
    assert caught.mean() <= 0.02 * 10 + 1 / len(pairs)  # 9 prompts about others for each of these


def test_what_was_measured_before_counts_and_is_not_read_again(
    reader: KeyReader, requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = len(requests) // 2
    first = measure_reach(reader, requests[:half], 0.02)
    read: list[str] = []
    reads = reader.read
    monkeypatch.setattr(
        reader, "read", lambda prompts, names: read.extend(prompts) or reads(prompts, names)
    )
    both = measure_reach(reader, requests, 0.02, before=first)
    assert both.gaps.of == {r.id for r in requests}
    assert both.gaps.found[: first.sample] == first.gaps.found
    assert both.sample == len(both.gaps.found) > first.sample
    assert not {r.prompt for r in requests[:half]} & set(read)
    read.clear()
    assert measure_reach(reader, requests, 0.02, before=both) == both
    assert read == []


def test_no_more_is_measured_than_makes_a_large_sample(
    reader: KeyReader, requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "PART", 3)
    monkeypatch.setattr(calibrate, "LARGE_SAMPLE", 20)
    found = measure_reach(reader, requests, 0.02)
    assert 20 <= len(found.gaps.found) < 20 + 3 * MISSES
    assert len(found.gaps.of) < len(requests)
    assert found.settled(requests)


def test_a_near_miss_counts_by_the_nearest_edit_of_its_subject(reader: KeyReader) -> None:
    leads, river, built = WORDINGS
    asked = [leads.format("velandor"), river.format("velandor"), built.format("toriquet")]
    requests = [
        EditRequest(prompt, target, subject=subject)
        for prompt, target, subject in zip(
            asked, ("ada", "tom", "sol"), ("velandor", "velandor", "toriquet"), strict=True
        )
    ]
    miss = built.format("velandor")  # of the other two wordings each is an edit's own
    keys = reader.read([*asked[:2], miss], ["velandor"] * 3)[:, : reader.projection.relation_size]
    near = min(np.linalg.norm(keys[:2] - keys[2], axis=1))
    found = [gap.relation for gap in measure_reach(reader, requests, 0.02).gaps.found]
    assert found[:2] == pytest.approx((near, near), abs=1e-4)


def test_lenders_count_only_while_requests_are_few(reader: KeyReader, requests) -> None:
    few, others = requests[:6], requests[6:]
    lent = measure_reach(reader, few, 0.02, others, limit=20)
    assert lent.sample > len(lent.gaps.found) > 0
    assert lent.gaps.of == {r.id for r in few}
    enough = measure_reach(reader, few, 0.02, others, limit=2 * len(few))
    assert enough.sample == len(enough.gaps.found)


def test_free_edits_are_measured_where_only_bound_ones_came_before(
    reader: KeyReader, requests
) -> None:
    bound = measure_reach(reader, requests, 0.02)
    assert bound.free == FALLBACK_FREE
    free = EditRequest("how old is the bridge ?", "nine", id="free")
    known = replace(bound, sample=10**6)
    assert known.settled(requests)
    assert not known.settled([free])
    found = measure_reach(reader, [free, *requests], 0.02, before=bound)
    assert found.bound == bound.bound
    assert found.free_sample >= 20
    assert found.free != FALLBACK_FREE


def test_a_locality_probe_stays_outside_the_radius_of_its_edit(reader: KeyReader) -> None:
    request = EditRequest("who leads velandor ?", "ada", subject="velandor", id="a")
    near, far = "who leads velandor now ?", "who leads toriquet now ?"
    split = reader.projection.relation_size
    keys = reader.read([request.prompt, near], ["velandor"] * 2)
    gap = float(np.linalg.norm(keys[0, :split] - keys[1, :split]))
    wide = Reach(9.0, 9.0)
    bound, free = (
        radii([r], keys[:1], wide, reader)[0].own
        for r in (
            replace(request, locality=(near, far)),
            replace(request, subject=None, locality=(near, far)),
        )
    )
    assert bound == pytest.approx(CLEARANCE * gap, abs=1e-4)
    assert free < 9.0
    assert radii([replace(request, locality=(far,))], keys[:1], wide, reader) == [Radii(9.0, 0.0)]
    assert radii([request], keys[:1], Reach(0.3, 9.0), reader) == [Radii(0.3, 0.0)]


def test_a_described_subject_may_be_named_partly_within_a_radius_of_its_own(
    reader: KeyReader,
) -> None:
    subject = "oldest stone bridge of the country"
    request = EditRequest(f"where is the {subject} ?", "rome", subject=subject)
    named = EditRequest("where is velandor ?", "rome", subject="velandor")
    keys = reader.read(
        [request.prompt, named.prompt], [name_in(request.prompt, request.names), "velandor"]
    )
    wide = Reach(9.0, 9.0, partly=8.0)
    described = [replace(request, aliases=("The Bridge",)), named]
    assert radii(described, keys, wide, reader) == [Radii(9.0, 8.0), Radii(9.0, 0.0)]
    probe = "which bridge of stone is oldest ?"  # names it partly: only the content radius is cut
    content = slice(reader.projection.relation_size, None)
    gap = np.linalg.norm(reader.read([probe])[0, content] - keys[0, content])
    [cut] = radii([replace(described[0], locality=(probe,))], keys[:1], wide, reader)
    assert cut == (9.0, pytest.approx(CLEARANCE * gap, abs=1e-4), False)


def test_a_question_that_stands_for_its_subject_stays_clear_of_the_one_without(
    reader: KeyReader,
) -> None:
    request = EditRequest("where does old velandor keep the stone ?", "rome", subject="velandor")
    keys = reader.read([request.prompt], ["velandor"])
    content = slice(reader.projection.relation_size, None)
    without = reader.read(["where does old something keep the stone ?"])
    gap = np.linalg.norm(without[0, content] - keys[0, content])
    wide = Reach(9.0, 9.0, partly=8.0)
    [found] = radii([request], keys, wide, reader)
    assert found == (9.0, pytest.approx(CLEARANCE * gap, abs=1e-4), True)
    also = replace(request, aliases=("stone",))  # by which the question would still name it
    assert radii([also], keys, wide, reader) == [Radii(9.0, 8.0, True)]
