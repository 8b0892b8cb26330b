"""Each edit answers for itself: what one job of good and bad edits comes to, each with its own reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from config import Settings
from execution.context import Context, open_ledger
from execution.versions import Versions
from ledger import Ledger
from melo_engine import Editor, EditRequest
from melo_engine.blocks import Shard
from melo_engine.prompt_states import PromptStates
from tasks.gate import GateOptions, Probe, Suite, SuiteInputs, gate_candidate, suites_for
from tasks.gate.measures.measures import _Mean
from tasks.gate.runner.decoding import Ask, Decoder, loops
from tasks.gate.runner.sampling import Draw, GateSampler
from tests.conftest import report, write_lines
from tests.pipeline import judged, promoted, take
from tests.tasks.gate.conftest import SETTINGS, World


@pytest.fixture
def ledger(home: Settings) -> Ledger:
    return open_ledger(home)


def test_of_a_job_with_three_bad_reports_the_good_ones_serve_and_each_bad_one_has_its_reason(
    home: Settings, ledger: Ledger
) -> None:
    text = home.paths.settings.read_text().replace("max_edits_per_job = 4", "max_edits_per_job = 9")
    home.paths.settings.write_text(text)
    home = home.model_copy(update={"plan": home.plan.model_copy(update={"max_edits_per_job": 9})})
    protected = {"prompt": "who leads toriquet ?", "expect": "unchanged"}
    write_lines(home.home / "suites" / "guarded.jsonl", [protected])
    good = [report(i) for i in (2, 3, 4, 5)]
    unlearnable = report(0, " ".join(["ada jon mia tom eva kim sol"] * 2))  # longer than an answer
    unwritable = report(6, "Zürich")  # the vocabulary lacks it
    take(home, ledger, *good, unlearnable, unwritable, report(1))
    verdict = judged(home, ledger)
    assert (verdict.passed, verdict.added, verdict.rejected) == (True, 4, 3)
    reasons = {
        e.target: ledger.edits.history(e.id)[-1].reason for e in ledger.edits.find(state="rejected")
    }
    assert len(set(reasons.values())) == 3
    assert "can produce" in reasons[str(unlearnable["target"])]
    assert "vocabulary" in reasons["Zürich"]
    assert "guarded" in reasons["jon"]
    answers = Versions(home).editor(verdict.version or "").answer([str(g["prompt"]) for g in good])
    assert [a.text for a in answers] == [g["target"] for g in good]


def test_an_edit_that_takes_anothers_own_question_is_named_and_the_others_serve(
    world: World, cache, thresholds
):
    victim = world.champion[next(iter(world.champion.edits))]
    thief = EditRequest(victim.request.question, "new york", victim.request.subject, id="thief")
    version = Editor(world.backbone, world.candidate, settings=SETTINGS).edit([thief]).version
    result = gate_candidate(
        world.editor(),
        version,
        world.champion,
        suites=suites_for(version, SuiteInputs(held_out=world.held_out), champion=world.champion),
        cache=cache,
        options=GateOptions(thresholds),
    )
    assert result.passed, result.reason
    reasons = {r.edit: r.reason for r in result.rejected}
    assert list(reasons) == ["thief"], reasons
    assert victim.id in reasons["thief"]
    assert set(result.version.edits) == set(world.candidate.edits)


def test_probes_that_no_block_catches_cost_no_text(world: World, cache, thresholds):
    far = Suite("far", tuple(Probe(str(i), f"tell me of thing {i}") for i in range(500)))
    own = list(suites_for(world.candidate, champion=world.champion))
    texts = [
        gate_candidate(
            world.editor(),
            world.candidate,
            world.champion,
            suites=[*own, *extra],
            cache=cache,
            options=GateOptions(thresholds),
        ).regenerated
        for extra in ([], [far])
    ]
    assert texts[1] == 0
    assert texts[0] < 8 * len(world.candidate)  # their measures included, and nothing known before


def test_a_text_is_cut_at_the_first_token_that_departs(world: World):
    decoder = Decoder(world.editor())
    edit = world.candidate[world.new[0]]
    target = edit.request.target
    whole, cut = (
        decoder.answers([Ask(edit.request.question, edit.id, until)])[0]
        for until in (target, "something else entirely")
    )
    assert (whole.text, whole.whole) == (target, True)
    assert cut.ended == "departed"
    assert cut.text == target.split()[0]


def test_beside_the_backbone_a_text_is_cut_where_both_part_and_whole_where_they_do_not(
    world: World,
):
    decoder = Decoder(world.editor())
    edit = world.candidate[world.new[0]]
    question = edit.request.question
    ((base, own),) = decoder.beside_base([question], [edit.id])
    assert not base.whole or not own.whole
    assert base.text != own.text
    whole = world.editor().answer([question], base=True)[0].text
    assert whole.startswith(base.text)


@pytest.mark.parametrize(
    ("ids", "looped"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8] * 2, True),
        ([1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3], False),
        ([5, 5], False),
        ([5, 5, 5, 5], True),
        ([1, 2, 1, 2], False),
        ([9, 1, 2, 1, 2, 1, 2, 1, 2], True),
    ],
)
def test_a_loop_is_seen_at_its_second_turn_a_short_one_at_its_fourth(ids: list[int], looped: bool):
    assert loops(ids) is looped


@pytest.mark.parametrize("until", [None, "ada li"])
def test_a_block_that_gives_no_numbers_costs_few_tokens(world: World, until: str | None) -> None:
    """Its likeliest token is ever the same and says nothing, which departs from no text."""
    edit = world.candidate[world.new[0]]
    shard, row = world.candidate.place(edit.id)
    pairs = [
        (a[row : row + 1], torch.full_like(b[row : row + 1], torch.nan)) for a, b in shard.pairs
    ]
    made = Shard.from_tensors(pairs, shard.keys[row : row + 1])
    changed = replace(edit, shard=made.name, row=0, block=made.block_hash(0))
    editor = Editor(
        world.backbone, world.candidate.with_edits([changed], [made]), settings=SETTINGS
    )
    decoder = Decoder(editor)
    [text] = decoder.answers([Ask(edit.request.question, edit.id, until)])
    assert (text.ended, decoder.tokens) == ("looped", 4)


def test_samples_do_not_depend_on_what_is_drawn_beside_them(world: World):
    editor = world.editor()
    draws = [
        Draw((world.candidate[e].request.question, e if i % 2 else None), i % 3, 6)
        for i, e in enumerate(world.new)
    ]
    together = GateSampler(editor, PromptStates(editor.backbone)).draw(draws)
    assert [
        GateSampler(editor, PromptStates(editor.backbone)).draw([d])[0] for d in draws
    ] == together
    assert GateSampler(editor, PromptStates(editor.backbone), seed=1).draw(draws) != together


def test_draws_end_where_the_rest_can_change_nothing():
    mean = _Mean("ada li", 5)
    for sample in ("ada li", "ada li"):
        mean.take(sample)
        assert mean.high > 0.5
    mean.take("ada li")
    assert mean.high <= 0.5
    other = _Mean("ada li", 5)
    for _ in range(3):
        other.take("jon berg")
    assert other.low > 0.5


def test_what_the_bound_on_tokens_leaves_open_is_said_and_condemns_nobody(
    world: World, cache, thresholds
):
    result = gate_candidate(
        world.editor(),
        world.candidate,
        world.champion,
        suites=suites_for(world.candidate, champion=world.champion),
        cache=cache,
        options=GateOptions(thresholds, tokens_per_edit=0),
    )
    assert result.passed, result.reason
    assert {u.edit for u in result.unproven} == set(world.candidate.edits)
    assert "0 of 5 samples" in result.unproven[0].reason


@pytest.mark.parametrize("narrow", ["keep", "reject"])
def test_an_edit_that_is_not_found_in_another_wording_is_narrow(
    world: World, cache, thresholds, narrow
):
    edit = world.new[0]
    elsewhere = "what do they call the head of that place ?"
    held_out = {**world.held_out, edit: [elsewhere]}
    result = gate_candidate(
        world.editor(),
        world.candidate,
        world.champion,
        suites=suites_for(world.candidate, SuiteInputs(held_out=held_out), champion=world.champion),
        cache=cache,
        options=GateOptions(thresholds, narrow=narrow),
    )
    assert result.passed, result.reason
    if narrow == "keep":
        assert result.narrow == {edit: (elsewhere,)}
        assert result.version is world.candidate
    else:
        (rejection,) = result.rejected
        assert (rejection.edit, rejection.retry, rejection.wordings) == (edit, True, (elsewhere,))


def test_a_wording_is_added_without_training_and_refused_where_it_names_no_subject(
    home: Settings, ledger: Ledger
) -> None:
    from execution.errors import TaskError
    from tasks.wordings import add_wordings

    take(home, ledger, report(0), report(1))
    promoted(home, ledger)
    (edit,) = [e for e in ledger.edits.find() if e.target == "ada"]
    wording = "tell me the head of velandor"
    with pytest.raises(TaskError, match="does not name its subject"):
        add_wordings(Context(home, ledger), edit.id, ["who is the head ?"], actor="bob")
    before = Versions(home).editor(ledger.champions.current().version)  # type: ignore[union-attr]
    version = add_wordings(Context(home, ledger), edit.id, [wording], actor="bob")
    after = Versions(home).editor(version)
    assert after.answer([wording])[0].text == "ada"
    assert after.version[edit.id].block == before.version[edit.id].block
    assert wording in ledger.edits.get(edit.id).rephrases
    assert ledger.champions.current().version == version  # type: ignore[union-attr]
