"""Planted faults: each is caught, and the one that names an edit names the right one."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from melo_engine import Edit, Editor, EditRequest, Version
from melo_engine.blocks import Shard
from tasks.gate import (
    AnswerCache,
    Expectation,
    GateOptions,
    GateResult,
    Probe,
    Suite,
    SuiteInputs,
    Thresholds,
    gate_candidate,
    load_suites,
    register_metric,
    suites_for,
)
from tasks.gate.cache.answers import checksum_of
from tasks.gate.verdict.thresholds import RepairRules
from tests.tasks.gate.conftest import SETTINGS, World, count_texts, facts, tiny_backbone


def with_edit(version: Version, edit: Edit, shards: Sequence[Shard] = ()) -> Version:
    return version.with_edits([edit], list(shards))


def gate(
    world: World,
    version: Version,
    cache: AnswerCache,
    thresholds: Thresholds,
    extra: Sequence[Suite] = (),
    **options,
) -> GateResult:
    suites = suites_for(version, SuiteInputs(held_out=world.held_out), champion=world.champion)
    return gate_candidate(
        world.editor(),
        version,
        world.champion,
        suites=[*extra, *suites],
        cache=cache,
        options=GateOptions(thresholds, **options),
    )


def random_block(version: Version, edit: str) -> tuple[Edit, Shard]:
    """The edit with a block of random weights, consistent in itself."""
    shard, row = version.place(edit)
    generator = torch.Generator().manual_seed(1)
    pairs = [
        (a[row : row + 1], torch.randn(b[row : row + 1].shape, generator=generator))
        for a, b in shard.pairs
    ]
    made = Shard.from_tensors(pairs, shard.keys[row : row + 1])
    return replace(version[edit], shard=made.name, row=0, block=made.block_hash(0)), made


@pytest.fixture(scope="module")
def free_world(world: World) -> tuple[Editor, Version, str]:
    """The candidate and edits that are bound to no subject."""
    editor = Editor(world.backbone, world.candidate, settings=SETTINGS)
    requests = [
        EditRequest(f"{a} {b} {c}", target)
        for a, b, c, target in (
            ("sol", "mi", "re", "red"),
            ("do", "fa", "la", "green"),
            ("si", "ut", "fa", "oslo"),
            ("re", "do", "si", "lima"),
            ("la", "mi", "ut", "grey"),
            ("fa", "fa", "re", "cairo"),
            ("ut", "do", "sol", "tom ek"),
        )
    ]
    version = editor.edit(requests).version
    assert all(r.id in version for r in requests)
    return editor, version, requests[0].id


def test_a_free_edit_with_a_radius_ten_times_too_wide_is_cut_back(
    world: World, free_world, cache, thresholds
):
    _, version, edit = free_world
    wide = version.with_radius(edit, max(10 * version[edit].radius, 3.0))
    result = gate(world, wide, cache, thresholds)
    assert result.passed, result.reason
    assert {r.edit for r in result.repairs} == {edit}
    assert not result.rejected
    assert result.version[edit].radius < wide[edit].radius


def test_without_peers_to_tell_a_probe_condemns_the_radius(world: World, cache, thresholds):
    editor = Editor(world.backbone, world.candidate, settings=SETTINGS)
    request = EditRequest("sol mi re", "red")
    version = editor.edit([request]).version
    wide = version.with_radius(request.id, 3.0)
    result = gate(world, wide, cache, thresholds)
    assert result.passed, result.reason
    (repair,) = {r.edit: r for r in result.repairs}.values()
    assert repair.edit == request.id
    assert repair.suite != "integrity"
    assert repair.probe
    assert editor.version[request.id].radius < wide[request.id].radius


def test_a_bound_edit_with_a_radius_ten_times_too_wide_is_cut_back(world: World, cache, thresholds):
    edit = world.new[2]
    wide = world.candidate.with_radius(edit, 10 * world.candidate[edit].radius)
    result = gate(world, wide, cache, thresholds)
    assert result.passed, result.reason
    assert [r.edit for r in result.repairs] == [edit]


def test_an_edit_that_reaches_too_far_where_it_is_named_partly_is_cut_back(
    world: World, cache, thresholds
):
    subject = "wexandor wexovic yaromire ulmustra brenholt"
    request = EditRequest(f"who leads {subject} ?", "red", subject)
    version = Editor(world.backbone, world.candidate, settings=SETTINGS).edit([request]).version
    wide = version.with_edits([replace(version[request.id], content_radius=9.0)], [])
    probe = "name wexandor and yaromire brenholt"
    elsewhere = Suite("elsewhere", (Probe("1", probe),))
    result = gate(world, wide, cache, thresholds, extra=[elsewhere])
    assert result.passed, result.reason
    (repair,) = result.repairs
    assert (repair.edit, repair.suite, repair.probe) == (request.id, "elsewhere", probe)
    assert 0 < result.version[request.id].content_radius < 9.0
    editor = Editor(world.backbone, result.version)
    assert [r.edit for r in editor.routes([probe, request.prompt])] == [None, request.id]


@pytest.mark.parametrize("honest", [True, False])
def test_an_edit_with_a_wrong_block_is_taken_out(world: World, cache, thresholds, honest: bool):
    one, other = (world.candidate[e] for e in world.new[:2])
    assert one.request.target != other.request.target
    wrong = replace(one, shard=other.shard, row=other.row)
    wrong = replace(wrong, block=other.block) if honest else wrong
    result = gate(world, with_edit(world.candidate, wrong), cache, thresholds)
    assert result.passed, result.reason
    assert [r.edit for r in result.rejected] == [one.id]
    assert one.id not in result.version


def test_a_block_of_random_weights_is_taken_out_and_may_be_trained_again(
    world: World, cache, thresholds
):
    edit, shard = random_block(world.candidate, world.new[3])
    result = gate(world, with_edit(world.candidate, edit, [shard]), cache, thresholds)
    assert result.passed, result.reason
    (rejection,) = result.rejected
    assert (rejection.edit, rejection.retry) == (edit.id, True)
    assert rejection.probe == edit.request.prompt
    assert rejection.after != edit.request.target


def test_a_block_that_gives_no_numbers_is_taken_out(world: World, cache, thresholds):
    edit, shard = random_block(world.candidate, world.new[3])
    pairs = [(a, torch.full_like(b, math.nan)) for a, b in shard.pairs]
    broken = Shard.from_tensors(pairs, shard.keys)
    edit = replace(edit, shard=broken.name, block=broken.block_hash(0))
    result = gate(world, with_edit(world.candidate, edit, [broken]), cache, thresholds)
    assert [r.edit for r in result.rejected] == [edit.id]


def test_two_edits_with_swapped_targets_are_both_taken_out(world: World, cache, thresholds):
    one, other = (world.candidate[e] for e in world.new[:2])
    swapped = [
        replace(a, request=replace(a.request, target=b.request.target))
        for a, b in ((one, other), (other, one))
    ]
    version = world.candidate.with_edits(swapped, [])
    result = gate(world, version, cache, thresholds)
    assert result.passed, result.reason
    assert {r.edit for r in result.rejected} == {one.id, other.id}


def test_targets_that_differ_from_the_ledgers_are_caught(world: World, cache, thresholds):
    edit = world.new[0]
    suites = suites_for(
        world.candidate, SuiteInputs(targets={edit: "new york"}), champion=world.champion
    )
    result = gate_candidate(
        world.editor(),
        world.candidate,
        world.champion,
        suites=suites,
        cache=cache,
        options=GateOptions(thresholds),
    )
    assert [r.edit for r in result.rejected] == [edit]


@pytest.mark.parametrize("radius", [math.nan, math.inf, -1.0])
def test_a_radius_that_is_no_number_is_caught_before_anything_is_asked(
    world: World, cache, thresholds, radius: float
):
    edit = world.new[0]
    result = gate(world, world.candidate.with_radius(edit, radius), cache, thresholds)
    assert result.passed, result.reason
    assert [r.edit for r in result.rejected] == [edit]


def test_a_cache_row_changed_by_hand_fails_the_gate_and_names_the_edit(
    world: World, cache, thresholds
):
    gate(world, world.candidate, cache, thresholds)
    edit = world.candidate[world.new[0]]
    with sqlite3.connect(cache.path) as con:
        con.execute("UPDATE texts SET text = 'red ink' WHERE block = ?", [edit.block])
    result = gate(world, world.candidate, cache, thresholds)
    assert not result.passed
    assert edit.id in result.reason
    assert gate(world, world.candidate, cache, thresholds).passed  # it was generated again


def forge(cache: AnswerCache) -> None:
    """Change what all blocks said, with checksums that fit."""
    with sqlite3.connect(cache.path) as con:
        rows = con.execute(
            "SELECT scope, probe, block, ended FROM texts WHERE block <> ''"
        ).fetchall()
        for scope, probe, block, ended in rows:
            forged = checksum_of(scope, (bytes(probe), block), ended, "red ink")
            con.execute(
                "UPDATE texts SET text = 'red ink', checksum = ? "
                "WHERE scope = ? AND probe = ? AND block = ?",
                [forged, scope, probe, block],
            )


def test_a_forged_row_with_a_fitting_checksum_is_found_by_asking_again(
    world: World, cache, thresholds
):
    strict = replace(thresholds, repair=RepairRules(rounds=0))
    gate(world, world.candidate, cache, strict)
    forge(cache)
    result = gate(world, world.candidate, cache, strict)
    assert "cache" in {c.suite for c in result.checks if not c.passed}


def test_in_full_a_forged_row_is_always_found(world: World, cache, thresholds):
    gate(world, world.candidate, cache, thresholds)
    forge(cache)
    result = gate(world, world.candidate, cache, thresholds, full=True)
    assert not result.passed
    assert "the cache has" in result.reason


def test_an_emptied_suite_fails_the_gate(world: World, cache, thresholds, tmp_path: Path):
    folder = tmp_path / "suites"
    folder.mkdir()
    (folder / "locality.yaml").write_text("probes: 1\n")
    (folder / "locality.jsonl").write_text("")
    result = gate(world, world.candidate, cache, thresholds, extra=load_suites(folder))
    assert not result.passed
    assert "locality.jsonl holds no probe" in result.reason


def test_a_metric_that_is_no_number_fails_the_gate_and_names_the_edit(
    world: World, cache, thresholds
):
    register_metric("broken", lambda answer, reference: float("nan"))
    edit = world.new[0]
    prompt = world.candidate[edit].request.prompt
    mine = Suite("mine", (Probe("1", prompt, Expectation("metric", "x", "broken", 0.0)),))
    result = gate(world, world.candidate, cache, thresholds, extra=[mine])
    assert not result.passed
    assert edit in result.reason


def test_a_metric_that_breaks_down_counts_as_no_number(world: World, cache, thresholds):
    register_metric("crashing", lambda answer, reference: 1 / 0)
    mine = Suite("mine", (Probe("1", "name a thing", Expectation("metric", "x", "crashing")),))
    result = gate(world, world.candidate, cache, thresholds, extra=[mine])
    assert not result.passed
    assert "no number" in result.reason


def test_changed_weights_are_seen_before_an_answer_is_believed(world: World, cache, thresholds):
    backbone = tiny_backbone()
    editor = Editor(backbone, world.candidate)
    assert backbone.weights_hash == world.candidate.backbone
    backbone.model.shared.weight.data[3] += 1e-3
    result = gate_candidate(
        editor,
        world.candidate,
        world.champion,
        suites=suites_for(world.candidate),
        cache=cache,
        options=GateOptions(thresholds),
    )
    assert not result.passed
    assert "weights" in result.reason
    assert count_texts(cache) == 0


def test_a_gate_that_may_not_mend_fails_and_names_the_edit(world: World, cache, thresholds):
    strict = replace(thresholds, repair=RepairRules(rounds=0))
    edit, shard = random_block(world.candidate, world.new[3])
    result = gate(world, with_edit(world.candidate, edit, [shard]), cache, strict)
    assert not result.passed
    assert edit.id in result.reason
    wide = world.candidate.with_radius(world.new[1], 100.0)
    result = gate(world, wide, cache, strict)
    assert not result.passed
    assert world.new[1] in result.reason


def test_of_fifty_edits_with_three_harmful_ones_forty_seven_go_on(cache, thresholds):
    backbone = tiny_backbone()
    pairs = facts(50)
    general = "name a thing"
    requests = [r for r, _ in pairs[:49]] + [EditRequest(general, "red")]
    editor = Editor(backbone, settings=SETTINGS)
    version = editor.edit(requests).version
    assert len(version) == 50
    spoilt, shard = random_block(version, requests[7].id)
    victim = version[requests[20].id]
    donor = version[requests[21].id]
    version = version.with_edits(
        [spoilt, replace(victim, shard=donor.shard, row=donor.row, block=donor.block)], [shard]
    )
    protected = Suite("protected", (Probe("1", general),))
    suites = suites_for(version, SuiteInputs(held_out={r.id: held for r, held in pairs}))
    result = gate_candidate(
        editor,
        version,
        None,
        suites=[protected, *suites],
        cache=cache,
        options=GateOptions(thresholds),
    )
    assert result.passed, result.reason
    assert {r.edit for r in result.rejected} == {
        requests[7].id,
        requests[20].id,
        requests[49].id,
    }
    assert all(r.probe and r.reason and r.suite for r in result.rejected)
    assert len(result.version) == 47
    blocks = {e: version[e].block for e in result.version.edits}
    assert {e: result.version[e].block for e in result.version.edits} == blocks
    keys = [version.index[e].key for e in result.version.edits]
    assert np.array_equal(keys, [result.version.index[e].key for e in result.version.edits])
