"""The gate on a small real model: what passes, and that look-ups equal the model."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from execution.progress import listening
from melo_engine import Editor, EditRequest
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
    suites_for,
    write_report,
)
from tasks.gate.cache.keys import ProbeKeys
from tasks.gate.router import Router
from tasks.gate.runner.decoding import Ask, Decoder
from tasks.gate.suites.wordings import SuiteWordings
from tests.tasks.gate.conftest import SETTINGS, World, count_texts, facts, tiny_backbone


def suites_of(world: World, version=None, **options) -> list[Suite]:
    seed, retired = options.get("seed", 0), options.get("retired", ())
    inputs = SuiteInputs(held_out=world.held_out, retired=retired)
    return suites_for(version or world.candidate, inputs, champion=world.champion, seed=seed)


def gated(world: World, cache: AnswerCache, thresholds: Thresholds, **options) -> GateResult:
    suites = options.pop("suites", None) or suites_of(world)
    return gate_candidate(
        world.editor(),
        world.candidate,
        world.champion,
        suites=suites,
        cache=cache,
        options=GateOptions(thresholds, **options),
    )


def answers(result: GateResult) -> list[tuple[object, ...]]:
    """What a user is told of each probe; a text only where an edit gave it: else it can't differ."""
    return [
        (p.suite, p.probe_id, p.after if p.edit else None, p.passed, p.edit) for p in result.probes
    ]


def test_a_healthy_version_passes_untouched(world: World, cache, thresholds):
    editor = world.editor()
    result = gate_candidate(
        editor,
        world.candidate,
        world.champion,
        suites=suites_of(world),
        cache=cache,
        options=GateOptions(thresholds),
    )
    assert result.passed, result.reason
    assert result.version is world.candidate
    assert not result.rejected
    assert not result.repairs
    assert editor.version is world.candidate


def test_the_first_version_passes_without_a_champion(world: World, cache, thresholds):
    suites = suites_for(world.champion, SuiteInputs(held_out=world.held_out))
    result = gate_candidate(
        world.editor(),
        world.champion,
        None,
        suites=suites,
        cache=cache,
        options=GateOptions(thresholds),
    )
    assert result.passed, result.reason


def test_by_the_index_and_in_full_the_verdict_and_every_answer_are_the_same(
    world: World, cache, thresholds
):
    gate_candidate(
        world.editor(),
        world.champion,
        None,
        suites=suites_of(world, world.champion),
        cache=cache,
        options=GateOptions(thresholds),
    )
    quick = gated(world, cache, thresholds)
    full = gated(world, cache, thresholds, full=True)
    assert 0 < quick.regenerated < full.regenerated
    assert full.cached == 0
    assert answers(quick) == answers(full)
    assert (quick.passed, quick.version.id) == (full.passed, full.version.id)


def test_a_second_gate_of_the_same_version_generates_nothing(world: World, cache, thresholds):
    gated(world, cache, thresholds)
    assert gated(world, cache, thresholds).regenerated == 0


def test_what_is_looked_up_is_what_the_model_says(world: World, cache, thresholds):
    gated(world, cache, thresholds)
    result = gated(world, cache, thresholds)
    editor = world.editor()
    for probe in result.probes[:: max(1, len(result.probes) // 60)]:
        if probe.after is not None and "consistency" not in probe.suite:
            said = editor.answer([probe.prompt])[0]
            assert (said.text, said.edit) == (probe.after, probe.edit)


@pytest.mark.parametrize("seed", range(20))
def test_a_healthy_version_raises_no_alarm_whatever_the_seed(
    world: World, tmp_path_factory, thresholds, seed: int
):
    path = tmp_path_factory.getbasetemp() / "seeds.sqlite"  # shared: each seed asks a bit more
    with AnswerCache.open(path) as cache:
        suites = suites_of(world, seed=seed)
        result = gated(world, cache, thresholds, suites=suites, seed=seed)
    assert result.passed, result.reason
    assert not result.rejected


def test_an_answer_depends_neither_on_the_batch_nor_on_its_order(world: World):
    prompts = [p for r, held in facts(40) for p in (r.prompt, *held, f"now {r.prompt}")]
    edits: list[str | None] = [e for i in range(40) for e in [list(world.candidate.edits)[i]] * 3]
    edits[::4] = [None] * len(edits[::4])
    asks = [Ask(prompt, edit) for prompt, edit in zip(prompts, edits, strict=True)]
    decoder = Decoder(world.editor())
    together = decoder.answers(asks)
    order = list(range(len(prompts)))
    random.Random(1).shuffle(order)
    shuffled = decoder.answers([asks[i] for i in order])
    alone = [decoder.answers([ask])[0] for ask in asks[:30]]
    assert shuffled == [together[i] for i in order]
    assert alone == together[:30]


def test_near_misses_are_no_edits_own_questions_and_hardly_move_with_new_edits(world: World):
    made = {s.name: {p.prompt for p in s.probes} for s in suites_of(world)}
    before = {s.name: {p.prompt for p in s.probes} for s in suites_of(world, world.champion)}
    near = made["near-miss-subject"] | made["near-miss-relation"]
    for edit in world.candidate.edits.values():
        wordings = SuiteWordings(edit.request, world.held_out[edit.id])
        assert not any(wordings.ask(prompt) for prompt in near)
    for name in ("near-miss-subject", "near-miss-relation"):
        assert len(before[name] & made[name]) >= 0.8 * len(before[name])


def test_a_revoked_edit_no_longer_answers(world: World, cache, thresholds):
    gone = world.new[0]
    version = world.candidate.without([gone])
    suites = suites_of(world, version, retired=[world.candidate[gone].request])
    result = gate_candidate(
        world.editor(),
        version,
        world.champion,
        suites=suites,
        cache=cache,
        options=GateOptions(thresholds),
    )
    (probe,) = [p for p in result.probes if p.suite == "retired"]
    assert result.passed, result.reason
    assert probe.passed
    assert probe.edit is None


def test_what_an_edit_in_force_says_is_no_relic_of_one_taken_back(world: World):
    kept = world.candidate[world.new[0]].request
    gone = EditRequest(f"tell me of {kept.subject}", kept.target, kept.subject)
    other = EditRequest(f"tell me of {kept.subject}", "something else", kept.subject)
    (made,) = [s for s in suites_of(world, retired=[gone, other]) if s.name == "retired"]
    assert [p.expect.value for p in made.probes] == ["something else"]


def test_a_users_own_expectations_are_judged(world: World, cache, thresholds):
    request = world.candidate[world.new[0]].request
    mine = Suite(
        "mine",
        (
            Probe("a", request.prompt, Expectation("contains", request.target[:3])),
            Probe("b", request.prompt, Expectation("regex", f"^{request.target}$")),
            Probe("c", request.prompt, Expectation("metric", request.target, "token_f1", 0.9)),
            Probe("d", request.prompt, Expectation("exact", "something else")),
        ),
    )
    result = gated(world, cache, thresholds, suites=[*suites_of(world), mine])
    rows = {p.probe_id: p for p in result.probes if p.suite == "mine"}
    assert [rows[i].passed for i in "abcd"] == [True, True, True, False]
    assert rows["c"].value == 1.0
    assert not result.passed
    assert result.version.id == world.candidate.id  # the backbone is no better: nobody is to blame


def test_texts_that_the_model_had_right_stay_as_likely(world: World, cache, thresholds):
    editor = world.editor()
    prompt = "what is the capital of norway ?"
    known = editor.answer([prompt], base=True)[0].text
    own = Suite("locality", (Probe("1", prompt, Expectation("unchanged", known or "oslo")),))
    text = Suite(
        "texts",
        tuple(
            Probe(e, world.candidate[e].request.prompt, Expectation("exact", "red"), e)
            for e in world.new[:4]
        ),
        "perplexity",
    )
    result = gated(world, cache, thresholds, suites=[*suites_of(world), own, text])
    values = {p.probe_id: p.value for p in result.probes if p.suite == "texts"}
    checks = {c.suite: c for c in result.checks if c.metric == "perplexity ratio"}
    assert all(abs(v) > 0 for v in values.values())  # another block: another likelihood
    assert "texts" in checks
    assert "accurate-retention" not in checks  # no edit catches it: as likely as ever, to the bit
    suites = [*suites_of(world), own, text]
    checks = {c.suite: c for c in gated(world, cache, thresholds, suites=suites, full=True).checks}
    if known:
        assert checks["accurate-retention"].value == 1.0


def test_the_report_is_one_page_and_one_json_file_and_escapes_what_it_shows(
    world: World, cache, thresholds, tmp_path: Path
):
    nasty = '<script>alert("x")</script> & what is the capital of norway ?'
    mine = Suite("mine", (Probe("a", nasty, Expectation("exact", "<b>")),))
    result = gated(world, cache, thresholds, suites=[*suites_of(world), mine])
    data, page = write_report(result, tmp_path)
    report, html = json.loads(data.read_text()), page.read_text()
    assert report["passed"] is False
    assert nasty in [p["prompt"] for p in report["failing"]]
    assert report["cached"] + report["generated"] > 0
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<svg") == 3
    assert not any(link in html for link in ("src=", "href=", "@import", "url("))


def test_a_gate_with_a_missing_suite_fails(world: World, cache, thresholds):
    suites = [s for s in suites_of(world) if s.name != "retention"]
    result = gated(world, cache, thresholds, suites=suites)
    assert not result.passed
    assert "retention" in result.reason


def test_progress_is_told(world: World, cache, thresholds):
    told: list[tuple[str, int, int]] = []
    with listening(lambda *step: told.append(step)):
        gated(world, cache, thresholds)
    assert told
    assert all(0 < done <= total for _, done, total in told)


def test_new_weights_give_new_keys_and_answers(world: World, cache, thresholds):
    gated(world, cache, thresholds)
    before = count_texts(cache)
    other = tiny_backbone()
    other.model.lm_head.weight.data.mul_(1.5)
    pairs = facts(6)
    editor = Editor(other, settings=SETTINGS)
    version = editor.edit([r for r, _ in pairs]).version
    relaxed = replace(thresholds, suites={})
    gate_candidate(
        editor, version, None, suites=suites_for(version), cache=cache, options=GateOptions(relaxed)
    )
    assert count_texts(cache) > before
    assert len(list(cache.keys_folder.iterdir())) == 2


def test_routes_built_upon_known_ones_are_those_that_are_looked_up(world: World, tmp_path: Path):
    editor = world.editor()
    free = EditRequest("sol mi re", "red")
    more = Editor(world.backbone, world.candidate, settings=SETTINGS).edit([free]).version
    described = "wexandor wexovic yaromire ulmustra brenholt"
    about = EditRequest(f"who leads {described} ?", "red", described, id="described")
    more = Editor(world.backbone, more, settings=SETTINGS).edit([about]).version
    asking = EditRequest("which town keeps the brenholt of tirolan ?", "red", "town", id="asking")
    more = Editor(world.backbone, more, settings=SETTINGS).edit([asking]).version
    reaching = [replace(more[e], content_radius=5.0) for e in ("described", "asking")]
    more = more.with_edits([reaching[0], replace(reaching[1], by_question=True)], [])
    shrunk = more.with_radius(world.new[0], 0.01).without([world.new[1], world.new[2]])
    prompts = [p for s in suites_of(world, more) for p in (x.prompt for x in s.probes)]
    prompts += [p.replace("andor", "andr") for p in prompts[:40]]  # typos
    prompts += ["sol mi re", "sol mi re now", "re mi sol", "name a thing"]
    partly = "who leads wexandor and yaromire brenholt ?"
    by_question = "who keeps the brenholt of tirolan ?"
    prompts = list(dict.fromkeys([*prompts, partly, f"who leads {described} ?", by_question]))
    router = Router(editor, ProbeKeys(editor, tmp_path / "keys"), tmp_path)
    for version in (world.champion, world.candidate, more, shrunk, world.champion.without([])):
        quick = router.mapped(version, prompts)
        afresh = ProbeKeys(editor, tmp_path / version.id)
        slow = Router(editor, afresh, tmp_path / "none", delta=False).mapped(version, prompts)
        assert {p: (r.edit, r.block) for p, r in quick.items()} == {
            p: (r.edit, r.block) for p, r in slow.items()
        }
        router.save(version)
    route = router.mapped(more, [partly])[partly]
    assert (route.edit, route.radius) == ("described", 5.0)
    asked = router.mapped(more, [by_question])[by_question]
    assert (asked.edit, asked.radius) == ("asking", 5.0)
    again = Router(editor, ProbeKeys(editor, tmp_path / "keys"), tmp_path)
    again.remember(more, prompts)
    assert again.mapped(more, [partly]) == {partly: route}
    before = {p: r.edit for p, r in again.mapped(more, prompts).items()}
    assert again.looked_up == 0
    assert before == {p: r.edit for p, r in router.mapped(more, prompts).items()}


def _damage(kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")


def _take_away(kept: Path) -> None:
    """Listed, and not there once it is opened."""
    kept.with_name(f"{kept.stem.rpartition('-')[0]}-{'0' * 32}.parquet").symlink_to(
        kept.parent / "gone"
    )
    kept.unlink()


@pytest.mark.parametrize("befalls", [_damage, _take_away])
def test_kept_routes_that_can_not_be_read_are_looked_up(
    world: World, tmp_path: Path, befalls: Callable[[Path], None]
):
    editor = world.editor()
    prompts = [e.request.prompt for e in world.candidate.edits.values()]
    router = Router(editor, ProbeKeys(editor, tmp_path / "keys"), tmp_path)
    router.mapped(world.candidate, prompts)
    router.save(world.candidate)
    (path,) = tmp_path.glob("*/*.parquet")
    befalls(path)
    again = Router(editor, ProbeKeys(editor, tmp_path / "keys"), tmp_path)
    again.remember(world.candidate, prompts)
    again.mapped(world.candidate, prompts)
    assert again.looked_up == len(prompts)
