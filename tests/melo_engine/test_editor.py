"""Requests that cannot be carried out fail by name and alone; conflicts are told, not settled."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from melo_engine import (
    Backbone,
    Conflict,
    Editor,
    EditRequest,
    EditResult,
    EditSettings,
    PromptSettings,
    Version,
)
from melo_engine.errors import PromptError, RequestError, SettingsError, UnknownEdit
from melo_engine.generating import texts_of
from melo_engine.training import attempts, first_rank
from tests.melo_engine import models
from tests.melo_engine.conftest import Edited


@pytest.fixture
def editor(edited_t5: Edited) -> Editor:
    """An editor without edits on the T5 that all tests share."""
    return Editor(edited_t5.backbone, settings=models.SETTINGS)


def outcomes(result: EditResult) -> dict[str, tuple[str, str]]:
    return {o.id: (o.status, o.reason) for o in result.outcomes}


def about(subject: str, target: str, edit: str, wording: str = "who leads {} ?") -> EditRequest:
    return EditRequest(wording.format(subject), target, subject=subject, id=edit)


GOOD = about("ostovic", "tom", "good")
CAPITAL, NEARLY = "what is the capital city of {} ?", "what is the capital city of old {} ?"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (about("velandor", "  ", "bad"), "the target is empty"),
        (about("velandor", "ada " * 9, "bad"), r'has 9 tokens; backbone "tiny-t5" can produce 5'),
        (about("velandor", "xylophone", "bad"), "vocabulary"),
        (EditRequest(" ", "ada", id="bad"), "a prompt is empty"),
    ],
    ids=["empty-target", "long-target", "unwritable-target", "empty-prompt"],
)
def test_a_bad_request_fails_with_its_reason_and_others_go_on(
    editor: Editor, bad: EditRequest, reason: str
) -> None:
    found = outcomes(editor.edit([bad, GOOD]))
    status, said = found["bad"]
    assert status == "failed"
    assert re.search(reason, said)
    assert found["good"][0] == "trained"
    assert editor.answer([GOOD.prompt])[0].text == "tom"
    assert list(editor.version.edits) == ["good"]


def test_a_prompt_longer_than_the_backbone_takes_is_refused(edited_t5: Edited) -> None:
    backbone = Backbone.wrap(
        edited_t5.backbone.model, edited_t5.backbone.tokenizer, prompts=PromptSettings(max_tokens=4)
    )
    editor = Editor(backbone, settings=models.SETTINGS)
    with pytest.raises(PromptError, match="takes 4"):
        editor.answer(["who leads velandor at oslo ?"])
    found = outcomes(
        editor.edit([about("velandor", "ada", "long", "who leads {} at oslo ?"), GOOD])
    )
    assert (found["long"][0], found["good"][0]) == ("failed", "trained")
    backbone.runtime.close()


def test_an_unknown_label_is_named_with_those_allowed(make_edited) -> None:
    editor = Editor(make_edited("bert-classifier").backbone, settings=models.SETTINGS)
    found = outcomes(
        editor.edit([about("velandor", "merry", "bad"), about("ostovic", "glad", "good")])
    )
    assert found["bad"] == (
        "failed",
        'label "merry" is unknown; allowed: calm, glad, angry, sad.',
    )
    assert found["good"][0] == "trained"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rank": 32}, "rank is 32 and max_rank 16; .* Raise max_rank or lower rank"),
        ({"rank": 0}, "rank is 0 and max_rank 16"),
        ({"max_steps": 0}, "max_steps is 0; it must be at least 1"),
        ({"chunk": 0}, "chunk is 0; it must be at least 1"),
    ],
)
def test_settings_that_allow_no_try_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        EditSettings(**wrong)  # type: ignore[arg-type]


def test_two_targets_for_one_prompt_in_a_call_both_fail(editor: Editor) -> None:
    one, two = about("velandor", "ada", "one"), about("velandor", "jon", "two", "Who  leads {} ?")
    found = outcomes(editor.edit([one, two, GOOD]))
    assert {found["one"][0], found["two"][0]} == {"failed"}
    assert "edit one" in found["two"][1]
    assert "edit two" in found["one"][1]
    assert found["good"][0] == "trained"


def test_the_same_request_twice_under_one_id_is_refused(editor: Editor) -> None:
    with pytest.raises(RequestError, match="edit id good comes twice"):
        editor.edit([GOOD, GOOD])


@pytest.mark.parametrize("rate", [math.nan, 1e30])
def test_a_loss_that_breaks_down_names_the_edit_and_spares_the_others(
    edited_t5: Edited, rate: float
) -> None:
    """An edit that the backbone answers already needs no step, so no rate can break it."""
    prompt = edited_t5.requests[0].prompt
    known = edited_t5.base_before[0].text
    settings = replace(
        models.SETTINGS, learning_rate=rate, margin=0.0, views=0, max_steps=3, perplexity=math.inf
    )
    editor = Editor(edited_t5.backbone, settings=settings)
    fine = EditRequest(prompt, known, subject="velandor", id="fine")
    result = editor.edit([about("toriquet", "jon", "broken"), fine])
    status, reason = outcomes(result)["broken"]
    assert status == "failed"
    assert reason
    if math.isnan(rate):
        assert "the loss of edit broken is not a number" in reason
    assert "broken" not in editor.version
    bare = [a.text for a in edited_t5.base_before]
    assert [a.text for a in editor.answer(edited_t5.asked, base=True)] == bare


def test_the_same_question_in_other_words_is_told_and_both_edits_stay(editor: Editor) -> None:
    first = about("velandor", "ada", "first", CAPITAL)
    later = about("velandor", "jon", "later", NEARLY)
    editor.edit([first, GOOD])
    result = editor.edit([later])
    assert outcomes(result) == {"later": ("trained", "")}
    [conflict] = result.conflicts
    assert conflict == Conflict("later", "first", conflict.distance, same_subject=True)
    assert 0 < conflict.distance <= editor.version["later"].radius
    assert set(editor.version.edits) == {"first", "good", "later"}
    assert [a.text for a in editor.answer([first.prompt, later.prompt])] == ["ada", "jon"]


def test_two_edits_in_one_call_that_ask_the_same_both_stay_and_are_told(editor: Editor) -> None:
    first = about("velandor", "ada", "first", CAPITAL)
    later = about("velandor", "jon", "later", NEARLY)
    result = editor.edit([first, later])
    assert [(c.new, c.other) for c in result.conflicts] == [("later", "first")]
    assert [a.edit for a in editor.answer([first.prompt, later.prompt])] == ["first", "later"]


def test_questions_that_differ_in_one_word_are_no_conflict_however_near(editor: Editor) -> None:
    leads = EditRequest("who leads velandor ?", "ada", subject="velandor", id="leads")
    knows = EditRequest("who knows velandor ?", "jon", subject="velandor", id="knows")
    editor.use(editor.edit([leads]).version.with_radius("leads", 9.0))
    result = editor.edit([knows])
    assert result.conflicts == ()
    assert [a.edit for a in editor.answer([leads.prompt, knows.prompt])] == ["leads", "knows"]


def test_what_says_the_same_or_asks_of_another_subject_is_no_conflict(editor: Editor) -> None:
    editor.edit([about("velandor", "ada", "first", CAPITAL)])
    same, another = (
        about("velandor", "ada", "same", NEARLY),
        about("toriquet", "jon", "another", CAPITAL),
    )
    result = editor.edit([same, another])
    assert result.conflicts == ()


def test_free_edits_that_ask_the_same_are_told_as_well(editor: Editor) -> None:
    about_sea = "tell me about the capital city of the new {} sea"
    editor.edit([EditRequest(about_sea.format("north"), "sol", id="first")])
    result = editor.edit([EditRequest(about_sea.format("old north"), "kim", id="later")])
    assert [(c.new, c.other, c.same_subject) for c in result.conflicts] == [
        ("later", "first", False)
    ]
    assert set(editor.version.edits) == {"first", "later"}


def test_edits_about_sibling_subjects_all_answer_after_one_another(editor: Editor) -> None:
    """A longer name, a shorter one within another's, and two subjects in one prompt (public case)."""
    old = [
        about("velandor", "ada", "model", "what is the name of {} ?"),
        about("mabelban", "tom", "country", "what is the capital city of {} ?"),
    ]
    new = [
        about("velandor west", "jon", "larger model", "what is the name of {} ?"),
        EditRequest(
            "what is the capital city of the north sea of mabelban ?",
            "mia",
            subject="north sea",
            id="province",
        ),
    ]
    editor.edit(old)
    result = editor.edit(new)
    assert {status for status, _ in outcomes(result).values()} == {"trained"}
    assert [*editor.version.edits] == ["model", "country", "larger model", "province"]
    answers = editor.answer([r.question for r in (*old, *new)])
    assert [(a.edit, a.text) for a in answers] == [(r.id, r.target) for r in (*old, *new)]
    assert not any(c.same_subject for c in result.conflicts)
    editor.edit([about("toriquet west", "eva", "larger"), about("toriquet", "kim", "within")])
    answers = editor.answer(["who leads toriquet west ?", "who leads toriquet ?"])
    assert [a.edit for a in answers] == ["larger", "within"]


def test_an_edit_stays_where_a_later_one_of_its_prompt_fails(editor: Editor) -> None:
    editor.edit([about("velandor", "ada", "first")])
    editor.settings = replace(models.SETTINGS, learning_rate=math.nan, max_steps=3)
    result = editor.edit([about("velandor", "jon", "later"), about("velandor", "jon", "first")])
    assert outcomes(result)["first"][0] == "failed"
    assert outcomes(result)["later"][0] == "failed"
    assert editor.answer(["who leads velandor ?"])[0].text == "ada"


def test_a_prompt_edited_a_b_c_a_holds_the_last(editor: Editor) -> None:
    for turn, target in enumerate(["ada", "jon", "mia", "ada"]):
        result = editor.edit([about("velandor", target, f"turn-{turn}")])
        answer = editor.answer(["who leads velandor ?"])[0]
        assert (answer.text, answer.edit) == (target, f"turn-{turn}")
    assert {(c.new, c.other) for c in result.conflicts} == {
        ("turn-3", "turn-1"),
        ("turn-3", "turn-2"),
    }
    editor.revoke(["turn-3"])
    assert editor.answer(["who leads velandor ?"])[0].text == "mia"


def test_a_prompt_edited_a_b_c_a_in_one_place_leaves_the_last_alone(editor: Editor) -> None:
    replaced: list[str] = []
    for turn, target in enumerate(["ada", "jon", "mia", "ada"]):
        editor.edit([about("velandor", target, f"turn-{turn}")], replaces=replaced)
        replaced = [f"turn-{turn}"]
        assert editor.answer(["who leads velandor ?"])[0].text == target
    assert list(editor.version.edits) == ["turn-3"]


def test_an_edit_of_an_id_that_is_in_force_takes_its_place(editor: Editor) -> None:
    editor.edit([about("velandor", "ada", "one"), GOOD])
    result = editor.edit([about("velandor", "jon", "one")])
    assert result.conflicts == ()
    assert set(editor.version.edits) == {"good", "one"}
    assert editor.answer(["who leads velandor ?"])[0].text == "jon"


def test_replaces_takes_the_named_edits_out(editor: Editor) -> None:
    editor.edit([about("velandor", "ada", "old")])
    editor.edit([GOOD], replaces=["old"])
    assert list(editor.version.edits) == ["good"]
    with pytest.raises(UnknownEdit, match="old"):
        editor.revoke(["old"])


def test_a_block_trained_among_others_is_the_block_trained_alone(make_edited) -> None:
    edited = make_edited("llama")
    together = edited.editor
    for request in edited.requests:
        alone = Editor(edited.backbone, settings=models.SETTINGS)
        alone.edit([request])
        shard, row = together.version.place(request.id)
        own, only = alone.version.place(request.id)
        for (a, b), (c, d) in zip(shard.pairs, own.pairs, strict=True):
            assert torch.allclose(a[row], c[only], atol=2e-3)
            assert torch.allclose(b[row], d[only], atol=2e-3)
        prompts = edited.asked
        assert _forced(alone, request.id, prompts) == _forced(together, request.id, prompts)


def _forced(editor: Editor, edit: str, prompts: list[str]) -> list[str]:
    """Answers with an edit's block on each prompt, whatever its key says."""
    with torch.inference_mode(), editor.runtime.running(editor.blocks_of([edit] * len(prompts))):
        return texts_of(editor.backbone, editor.backbone.encode(prompts), {})


def test_blocks_with_more_prompts_than_others_are_trained_as_alone() -> None:
    """Rows are laid out otherwise where not all examples have as many prompts."""
    backbone = models.backbone("t5")
    few, many = models.requests("t5", 2)
    many = replace(many, rephrases=("velandor wine", "who made it in oslo ?"))
    together = Editor(backbone, settings=models.SETTINGS)
    together.edit([few, many])
    for request in (few, many):
        alone = Editor(backbone, settings=models.SETTINGS)
        alone.edit([request])
        (shard, row), (own, only) = (
            together.version.place(request.id),
            alone.version.place(request.id),
        )
        for (a, b), (c, d) in zip(shard.pairs, own.pairs, strict=True):
            assert torch.allclose(a[row], c[only], atol=2e-3)
            assert torch.allclose(b[row], d[only], atol=2e-3)


def test_the_order_of_requests_changes_no_answer(make_edited) -> None:
    edited = make_edited("t5")
    other = Editor(edited.backbone, settings=models.SETTINGS)
    other.edit(edited.requests[::-1])
    assert [a.text for a in other.answer(edited.asked)] == (
        [a.text for a in edited.editor.answer(edited.asked)]
    )


def test_routes_agree_with_answers(edited: Edited) -> None:
    routes = edited.editor.routes(edited.asked)
    assert [r.edit for r in routes] == [a.edit for a in edited.editor.answer(edited.asked)]
    reader = edited.editor.reader

    def one_by_one(prompts: Sequence[str], names: Sequence[str | None]) -> np.ndarray:
        return np.stack([reader.read_alone(*asked) for asked in zip(prompts, names, strict=True)])

    again = edited.editor.routes(edited.asked, one_by_one)
    assert [r.edit for r in again] == [r.edit for r in routes]


def test_a_subject_that_becomes_known_later_leaves_the_routes_of_others_alone() -> None:
    editor = Editor(models.backbone("t5"), settings=models.SETTINGS)
    prompt = "who leads velandor of toriquet ?"
    first = EditRequest(prompt, "ada", subject="velandor", id="first")
    editor.edit([first])
    assert editor.answer([prompt])[0].edit == "first"
    before = editor.routes([prompt])[0].distance
    editor.edit([EditRequest("is toriquet of velandor ?", "jon", subject="toriquet", id="second")])
    assert {n for m in editor.version.index.mentions([prompt])[0] for n in [m.name]} >= {
        "velandor",
        "toriquet",
    }
    found = editor.answer([prompt])[0]
    assert (found.edit, found.text) == ("first", "ada")
    assert editor.routes([prompt])[0].distance == pytest.approx(before, abs=1e-5)


def test_editors_come_and_go_and_leave_no_hooks_but_the_backbones_own() -> None:
    backbone = models.backbone("gpt2")

    def hooks() -> int:
        modules = backbone.model.modules()
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)

    assert hooks() == 0
    with Editor(backbone, settings=models.SETTINGS) as editor:
        editor.edit([about("velandor", "ada", "one")])
        once = hooks()
        with Editor(backbone, editor.version) as other:
            assert other.runtime is editor.runtime is backbone.runtime
            assert other.answer(["who leads velandor ?"])[0].text == "ada"
    with pytest.raises(RuntimeError, match="stop"), Editor(backbone):
        raise RuntimeError("stop")
    assert once == hooks() == 1 + len(backbone.surgery.targets)
    assert Editor(backbone, editor.version).answer(["who leads velandor ?"])[0].text == "ada"


def test_closing_the_runtime_takes_every_hook_out_and_another_may_follow() -> None:
    backbone = models.backbone("gpt2")
    editor = Editor(backbone, settings=models.SETTINGS)
    version = editor.edit([GOOD]).version
    runtime = backbone.runtime
    runtime.close()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in backbone.model.modules())
    assert backbone.runtime is not runtime
    assert Editor(backbone, version).answer([GOOD.prompt])[0].text == "tom"
    backbone.runtime.close()
    assert editor.answer([GOOD.prompt])[0].text == "tom"


def test_a_prompt_with_no_room_for_its_answer_fails_alone(make_edited) -> None:
    """GPT-2 counts positions: prompt and answer together must fit into its 64."""
    editor = Editor(make_edited("gpt2").backbone, settings=models.SETTINGS)
    long = "who leads velandor " + "now " * 58 + "?"
    request = EditRequest(long, "ada li of west oslo", subject="velandor", id="long")
    found = outcomes(editor.edit([request, GOOD]))
    assert found["long"] == (
        "failed",
        'prompt has 62 tokens; backbone "tiny-gpt2" takes 58. '
        "Shorten it or set backbone.max_prompt_tokens.",
    )
    assert found["good"][0] == "trained"
    with pytest.raises(PromptError, match="takes 58"):
        editor.answer([long])


def test_wordings_that_cannot_be_asked_are_left_out_of_training(editor: Editor) -> None:
    long = "now " * 600
    request = replace(GOOD, rephrases=(long, " ", "ostovic which head ?"))
    assert editor.edit([request]).outcomes[0].status == "trained"


def test_a_batch_that_does_not_fit_is_halved_and_no_edit_is_lost() -> None:
    """The device is one that holds three rows: the model runs out of memory on more."""

    def fill(module: torch.nn.Module, args: object, given: dict[str, torch.Tensor]) -> None:
        if len(given["input_ids"]) > 3:
            raise torch.OutOfMemoryError("out of memory")

    model = models.model("llama")
    model.register_forward_pre_hook(fill, with_kwargs=True)
    editor = Editor(Backbone.wrap(model, models.tokenizer()), settings=models.SETTINGS)
    requests = models.requests("llama", 5)
    result = editor.edit(requests)
    assert [o.status for o in result.outcomes] == ["trained"] * 5
    answers = editor.answer([r.prompt for r in requests], batch_size=1)
    assert [a.text for a in answers] == [r.target for r in requests]


@pytest.mark.parametrize("bound", [True, False], ids=["with-subject", "without"])
def test_edits_at_two_places_of_one_passage_both_stand_and_answer_nowhere_else(bound: bool) -> None:
    """A causal model goes on from where a passage ends; what it says elsewhere must not change."""
    editor = Editor(models.backbone("gpt2"), settings=models.SETTINGS)
    start = "velandor is a city. it lie in the north."
    middle = f"{start} a river and a new sea lie east. last year bread did grow in it."
    subject = "velandor" if bound else None
    edits = [
        EditRequest(start, "jon built it", subject=subject, id="start"),
        EditRequest(middle, "mia made wine in rome", subject=subject, id="middle"),
    ]
    result = editor.edit(edits)
    assert {status for status, _ in outcomes(result).values()} == {"trained"}
    assert result.conflicts == ()
    assert [a.edit for a in editor.answer([e.prompt for e in edits])] == ["start", "middle"]
    elsewhere = [
        "velandor is a city.",
        f"{start} a river and a new sea lie east.",
        f"{middle} mia made wine in rome",
    ]
    assert [a.edit for a in editor.answer(elsewhere)] == [None, None, None]


def test_a_long_target_begins_with_a_wider_block() -> None:
    settings = EditSettings(rank=4, max_rank=16, max_steps=60, learning_rate=0.016)
    assert [first_rank(settings, n) for n in (1, 8, 9, 16, 17, 99)] == [4, 4, 8, 8, 16, 16]
    tries = [(rank, s.max_steps, s.learning_rate) for rank, s in attempts(settings, 4)]
    assert tries == [(4, 60, 0.016), (8, 300, 0.016 * 0.3), (16, 1500, 0.016 * 0.3)]
    wide = [(rank, s.max_steps, s.learning_rate) for rank, s in attempts(settings, 16)]
    assert wide[0] == (16, 60, 0.008)
    assert [rank for rank, _, _ in wide] == [16, 16, 16]


def test_a_subject_of_one_letter_binds_nothing() -> None:
    """It would stand in prompts about anything."""
    editor = Editor(models.backbone("t5"), settings=models.SETTINGS)
    prompt = "i did see a river in the north , who made it ?"
    version = editor.edit([EditRequest(prompt, "ada li", subject="i", id="letter")]).version
    assert version["letter"].request.subject is None
    assert [a.edit for a in editor.answer([prompt, "where did i see the bread ?"])] == [
        "letter",
        None,
    ]


def test_a_subject_is_corrected_without_training(editor: Editor, tmp_path) -> None:
    question = "who leads velandor of toriquet ?"
    first = EditRequest(question, "ada", subject="toriquet", id="first")
    editor.edit([first, GOOD])
    before = editor.version
    other = "who leads velandor of mabelban ?"
    assert [r.edit for r in editor.routes([question, other])] == ["first", None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("melo_engine.editor.Teacher", None)
        after = editor.set_subject("first", "velandor")
    assert after is editor.version
    assert (after.id != before.id, after.parent) == (True, before.id)
    request = after["first"].request
    assert (request.subject, request.subject_source) == ("velandor", "given")
    assert [r.edit for r in editor.routes([question, other.replace("velandor", "sol")])] == [
        "first",
        None,
    ]
    answers = editor.answer([question, GOOD.question])
    assert [(a.edit, a.text) for a in answers] == [("first", "ada"), ("good", "tom")]
    loaded = Editor.load(editor.backbone, editor.save(tmp_path / "version"))
    assert loaded.version.id == after.id
    assert loaded.answer([question])[0].text == "ada"
    with pytest.raises(RequestError, match=r'"ostovic" does not stand in the question'):
        editor.set_subject("first", "ostovic")
    with pytest.raises(UnknownEdit, match="nobody"):
        editor.set_subject("nobody", "velandor")


class _Tagger:
    """Says that every text is about its third word."""

    def subjects(self, reader: object, texts: Sequence[str]) -> list[str | None]:
        return [text.split()[2] for text in texts]


def test_a_subject_that_nobody_gave_is_inferred_and_told(edited_t5: Edited, tmp_path) -> None:
    editor = Editor(edited_t5.backbone, settings=models.SETTINGS, tagger=lambda: _Tagger())  # type: ignore[arg-type,return-value]
    bare = EditRequest("who leads velandor ?", "ada", id="bare")
    letter = EditRequest("tell me i did see bread in rome", "jon", id="letter")
    version = editor.edit([bare, replace(letter, prompt="did see i in rome ?"), GOOD]).version
    requests = {e: version[e].request for e in version.edits}
    assert (requests["bare"].subject, requests["bare"].subject_source) == ("velandor", "inferred")
    assert requests["letter"].subject is None  # it would stand in any prompt
    assert (requests["good"].subject, requests["good"].subject_source) == ("ostovic", "given")
    routes = editor.routes(["now who leads velandor ?", "who leads toriquet ?"])
    assert routes[1].edit is None
    loaded = Version.load(editor.save(tmp_path / "version"))
    assert loaded.id == version.id
    assert {e: loaded[e].request for e in loaded.edits} == requests
    plain = Editor(edited_t5.backbone, settings=models.SETTINGS)
    assert plain.edit([bare]).version["bare"].request.subject is None
