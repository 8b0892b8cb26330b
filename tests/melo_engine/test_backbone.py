"""A backbone opens from a folder or from memory, and says in one line why it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from melo_engine import Backbone, Editor
from melo_engine.errors import BackboneError, PromptError, RequestError
from tests.melo_engine import models


@pytest.fixture(params=["llama", "t5", "bert-classifier"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A saved backbone, as save_pretrained writes it."""
    models.model(request.param).save_pretrained(tmp_path / "saved")
    models.tokenizer().save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_what_was_saved_opens_as_what_it_was(folder: Path, request) -> None:
    kind = request.node.callspec.params["folder"]
    opened, made = Backbone.open(folder, device="cpu"), models.backbone(kind)
    assert opened.weights_hash == made.weights_hash
    assert opened.tokenizer_hash == made.tokenizer_hash
    assert (opened.task, opened.surgery, opened.name) == (made.task, made.surgery, "saved")
    assert opened.max_prompt_tokens == made.max_prompt_tokens


def test_a_folder_that_is_no_model_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"has no config\.json"):
        Backbone.open(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(BackboneError, match="holds no weights"):
        Backbone.open(tmp_path)


def test_an_unknown_task_is_named_with_those_allowed() -> None:
    with pytest.raises(BackboneError, match='"painting"; allowed: seq2seq-lm, causal-lm'):
        Backbone.wrap(models.model("t5"), models.tokenizer(), "painting")  # type: ignore[arg-type]


def test_one_changed_weight_is_another_backbone() -> None:
    model = models.model("t5")
    with torch.no_grad():
        model.encoder.final_layer_norm.weight[0] += 1e-3
    changed = Backbone.wrap(model, models.tokenizer())
    assert changed.weights_hash != models.backbone("t5").weights_hash


def lower_case(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Lowercase()


def split_at_spaces(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()


def end_each(tokenizer: Tokenizer) -> None:
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])


@pytest.mark.parametrize("change", [lower_case, split_at_spaces, end_each])
def test_other_rules_of_splitting_make_another_tokenizer(
    change: Callable[[Tokenizer], None],
) -> None:
    tokenizer = models.tokenizer()
    change(tokenizer.backend_tokenizer)
    other, own = Backbone.wrap(models.model("t5"), tokenizer), models.backbone("t5")
    assert other.tokenizer.get_vocab() == own.tokenizer.get_vocab()
    assert other.tokenizer_hash != own.tokenizer_hash


def test_other_merges_make_another_tokenizer() -> None:
    vocabulary = {word: i for i, word in enumerate(["</s>", "a", "b", "c", "ab", "bc"])}
    hashes = set()
    for merges in ([("a", "b"), ("b", "c")], [("b", "c"), ("a", "b")]):
        backend = Tokenizer(BPE(vocabulary, merges))
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
        hashes.add(Backbone.wrap(models.model("t5"), tokenizer).tokenizer_hash)
    assert len(hashes) == 2


def test_encoding_leaves_the_tokenizer_what_it_was(tmp_path: Path) -> None:
    backbone = models.backbone("t5")
    backbone.encode(["wine", "wine and bread"], padding_side="left")
    backbone.tokenizer(["wine and bread"], truncation=True, max_length=2)
    assert backbone.tokenizer_hash == models.backbone("t5").tokenizer_hash
    backbone.tokenizer.save_pretrained(tmp_path)
    again = Backbone.wrap(models.model("t5"), AutoTokenizer.from_pretrained(tmp_path))
    assert again.tokenizer_hash == backbone.tokenizer_hash


def test_encoding_pads_where_it_is_told_to(edited) -> None:
    backbone = edited.backbone
    for side, column in (("left", 0), ("right", -1)):
        batch = backbone.encode(["wine", "who leads velandor ?"], padding_side=side)
        assert batch["attention_mask"][:, column].tolist() == [0, 1]
    with pytest.raises(PromptError, match="a prompt is empty"):
        backbone.encode(["wine", " "])
    with pytest.raises(PromptError, match=f"takes {backbone.max_prompt_tokens:,}"):
        backbone.encode(["wine " * (backbone.max_prompt_tokens + 1)])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.sampled_from(("left", "right")))
def test_the_tokens_of_prompts_are_those_of_a_batch_without_its_padding(lengths, side) -> None:
    for backbone in (models.backbone("t5"), models.chat_backbone()):
        prompts = [" ".join(["wine"] * n) for n in lengths]
        batch = backbone.encode(prompts, padding_side=side)
        rows = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
        assert backbone.tokens(prompts) == [row[real].tolist() for row, real in rows]


def test_a_target_ends_with_the_end_token_and_comes_back_as_text(make_edited) -> None:
    for kind in models.GENERATORS:
        backbone = make_edited(kind).backbone
        ids = backbone.encode_target(" ada  li ")
        assert ids[-1] == backbone.end_token
        assert backbone.decode(ids) == backbone.canonical("ada li") == "ada li"
        with pytest.raises(RequestError, match="lacks"):
            backbone.encode_target("xylophone")


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_where_the_config_names_no_end_answers_end_at_the_tokenizers(kind: str) -> None:
    model = models.model(kind)
    model.generation_config.eos_token_id = None
    backbone = Backbone.wrap(model, models.tokenizer())
    with Editor(backbone, settings=models.SETTINGS) as editor:
        requests = models.requests(kind)
        result = editor.edit(requests)
        assert [o.status for o in result.outcomes] == ["trained"] * len(requests)
        answers = editor.answer([r.question for r in requests])
    assert [a.text for a in answers] == [r.target for r in requests]
