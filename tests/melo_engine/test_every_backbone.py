"""What must hold on every architecture: edits answer, nothing else changes, all can be undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from melo_engine import Answer, Backbone, Editor, EditRequest
from melo_engine.errors import RequestError
from melo_engine.matching.names import name_in
from tests.melo_engine import models
from tests.melo_engine.conftest import Edited


def _bare(backbone: Backbone, prompt: str):
    """What transformers alone makes of one prompt, without a runtime in between."""
    encoded = backbone.encode([prompt])
    with torch.inference_mode():
        if not backbone.generates:
            label = int(backbone.model(**encoded).logits.argmax(-1))
            return str(backbone.model.config.id2label[label])
        ids = backbone.model.generate(**encoded, do_sample=False, max_new_tokens=6)[0]
    if backbone.task == "causal-lm":
        ids = ids[encoded["input_ids"].shape[1] :]
    return backbone.decode(ids)


def _routes(answers: list[Answer]) -> list[tuple[str | None, str | None]]:
    return [(a.edit, a.route.block) for a in answers]


def test_every_edit_decodes_freely_to_its_target(edited: Edited) -> None:
    assert [o.status for o in edited.result.outcomes] == ["trained"] * len(edited.requests)
    for request, answer in zip(edited.requests, edited.editor.answer(edited.prompts), strict=True):
        assert (answer.text, answer.edit) == (request.target, request.id)


def test_the_backbone_is_not_touched(edited: Edited) -> None:
    after = {name: id(module) for name, module in edited.backbone.model.named_modules()}
    assert after == edited.modules_before
    edited.backbone.__dict__.pop("weights_hash", None)
    assert edited.backbone.weights_hash == edited.hash_before
    assert not any(p.requires_grad for p in edited.backbone.model.parameters())


def test_prompts_that_no_edit_is_about_are_answered_as_before(edited: Edited) -> None:
    unedited = slice(len(edited.requests), None)
    after = edited.editor.answer(edited.asked)[unedited]
    assert [a.edit for a in after] == [None] * len(after)
    assert [a.text for a in after] == [a.text for a in edited.base_before[unedited]]


def test_the_bare_model_is_what_transformers_makes_of_it(edited: Edited) -> None:
    base = edited.editor.answer(edited.asked, batch_size=1, base=True)
    assert [a.text for a in base] == [_bare(edited.backbone, p) for p in edited.asked]
    fresh = models.backbone(edited.kind)
    assert [a.text for a in base] == [_bare(fresh, p) for p in edited.asked]


def test_revoking_every_edit_gives_the_backbone_back(edited: Edited) -> None:
    editor = Editor(edited.backbone, edited.editor.version)
    editor.revoke([r.id for r in edited.requests])
    answers = editor.answer(edited.asked)
    assert [a.text for a in answers] == [a.text for a in edited.base_before]
    assert editor.version.id == Editor(edited.backbone).version.id


def test_revoking_one_edit_leaves_the_others(edited: Edited) -> None:
    editor = Editor(edited.backbone, edited.editor.version)
    editor.revoke([edited.requests[1].id])
    answers = editor.answer(edited.prompts)
    expected = [r.id for r in edited.requests]
    assert [a.edit for a in answers] == [expected[0], None, *expected[2:]]
    assert answers[1].text == edited.base_before[1].text


def test_a_saved_version_answers_the_same(edited: Edited, tmp_path: Path) -> None:
    editor = edited.editor
    editor.save(tmp_path / "version")
    loaded = Editor.load(models.backbone(edited.kind), tmp_path / "version")
    assert loaded.version.id == editor.version.id
    answers, again = editor.answer(edited.asked), loaded.answer(edited.asked)
    assert [a.text for a in again] == [a.text for a in answers]
    assert _routes(again) == _routes(answers)


def test_route_and_answer_do_not_depend_on_padding_or_neighbours(edited: Edited) -> None:
    """Routes are compared for every row, texts where the bare text does not change with padding.

    A causal model that goes on after padding on the right, and a classifier that reads its first
    token where padding stands on the left, say something else even without any edit.
    """
    editor, asked = edited.editor, edited.asked
    alone = editor.answer(asked, batch_size=1)
    bare = editor.answer(asked, batch_size=1, base=True)
    assert [bool(a.edit) for a in alone] == [i < len(edited.requests) for i in range(len(asked))]
    unreadable = {"causal-lm": "right", "sequence-classification": "left"}
    for side in ("left", "right"):
        for order in (asked, asked[::-1]):
            together = editor.answer(order, batch_size=len(asked), padding_side=side, sort=False)
            assert _routes(together) == _routes([alone[asked.index(p)] for p in order])
            if unreadable.get(edited.backbone.task) == side:
                continue
            base = editor.answer(
                order, batch_size=len(asked), padding_side=side, sort=False, base=True
            )
            assert [a.text for a in base] == [bare[asked.index(p)].text for p in order]
            assert [a.text for a in together] == [alone[asked.index(p)].text for p in order]


@pytest.mark.parametrize("kind", models.GENERATORS)
@pytest.mark.parametrize(
    "options", [{"num_beams": 3}, {"do_sample": True, "num_return_sequences": 1}]
)
def test_beams_and_samples_keep_the_route(make_edited, kind: str, options: dict) -> None:
    edited = make_edited(kind)
    torch.manual_seed(0)
    answers = edited.editor.answer(edited.asked, **options)
    greedy = edited.editor.answer(edited.asked)
    assert [a.edit for a in answers] == [a.edit for a in greedy]
    torch.manual_seed(0)
    bare = edited.editor.answer(edited.asked, base=True, **options)
    if "num_beams" in options:
        for beam, plain in zip(answers, bare, strict=True):
            assert beam.edit or beam.text == plain.text
        found = [a.text for a in answers[: len(edited.requests)]]
        assert found != [a.text for a in bare[: len(edited.requests)]]


def test_several_answers_to_a_prompt_are_refused_before_any_is_generated() -> None:
    backbone = models.backbone("gpt2")
    backbone.model.generation_config.update(do_sample=True, num_return_sequences=3)
    editor, prompt = Editor(backbone, settings=models.SETTINGS), "who leads velandor ?"
    ran: list[int] = []
    backbone.model.register_forward_pre_hook(lambda *_: ran.append(1))
    with pytest.raises(RequestError, match="num_return_sequences is 2; each prompt gets one"):
        editor.answer([prompt], do_sample=True, num_return_sequences=2)
    assert not ran
    assert len(editor.answer([prompt], do_sample=True)) == 1
    assert ran


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_half_precision_works(kind: str, tmp_path: Path) -> None:
    backbone = models.backbone(kind, torch.bfloat16)
    before = backbone.weights_hash
    editor = Editor(backbone, settings=models.SETTINGS)
    requests = models.requests(kind, 3)
    result = editor.edit(requests)
    assert [o.status for o in result.outcomes] == ["trained"] * 3
    answers = editor.answer([r.prompt for r in requests])
    assert [a.text for a in answers] == [r.target for r in requests]
    editor.save(tmp_path / "version")
    again = models.backbone(kind, torch.bfloat16)
    assert again.weights_hash == before
    assert Editor.load(again, tmp_path / "version").answer([r.prompt for r in requests]) == answers


def test_free_edits_reach_what_lies_near_and_nothing_else(edited: Edited) -> None:
    """Without a subject the distance of whole prompts decides."""
    editor = Editor(edited.backbone, settings=models.SETTINGS)
    first = edited.requests[0]
    editor.edit([EditRequest(first.prompt, first.target, id="free", locality=(edited.asked[-1],))])
    same, other, probe = editor.answer([first.prompt, edited.asked[-2], edited.asked[-1]])
    assert (same.edit, same.text) == ("free", first.target)
    assert probe.edit is None
    assert other.route.distance > same.route.distance


def test_keys_read_together_are_those_read_alone_but_for_rounding(edited: Edited) -> None:
    reader = edited.editor.reader
    texts = [*edited.asked, *(f"now {p}" for p in edited.asked), *edited.asked]
    names = [name_in(text, models.SUBJECTS) for text in texts]
    for text, name, key in zip(texts, names, reader.read(texts, names), strict=True):
        assert np.allclose(reader.read_alone(text, name), key, atol=reader.tolerance / 10)
    assert np.array_equal(reader.read(texts)[: len(edited.asked)], reader.read(texts)[-8:][1:])


def test_a_model_that_keeps_some_modules_in_another_format_is_edited(tmp_path: Path) -> None:
    models.model("t5").save_pretrained(tmp_path)
    models.tokenizer().save_pretrained(tmp_path)
    backbone = Backbone.open(tmp_path, device="cpu", dtype=torch.float16)
    editor = Editor(backbone, settings=models.SETTINGS)
    assert len({target.weight.dtype for target in editor.runtime.targets}) == 2
    requests = models.requests("t5", 3)
    editor.edit(requests)
    answers = editor.answer([r.prompt for r in requests])
    assert [(a.text, a.edit) for a in answers] == [(r.target, r.id) for r in requests]
