"""Batches that are answered in one `generate`, from which rows go as they end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from melo_engine import Backbone
from serving.generation import generate
from serving.loaded import Loaded
from serving.rows import BatchRow
from serving.sampling import Sampling
from tests.serving.chat_models import save_chat_model

DRAWN = Sampling(temperature=1.5, alternatives=0, ignore_eos=True)
LENGTHS = {
    "what is it ?": 2,
    "who leads velandor now ?": 24,
    "a": 3,
    "who ?": 4,
    "the new head": 17,
}


@pytest.mark.parametrize("kind", ["encoder-decoder", "decoder"])
def test_an_answer_goes_on_unchanged_when_others_of_its_batch_have_ended(
    kind: str, tiny_backbone_path: Path, tmp_path: Path
) -> None:
    path = tiny_backbone_path if kind == "encoder-decoder" else save_chat_model(tmp_path / "chat")
    backbone = Backbone.open(path)
    loaded = Loaded(backbone, None)

    def row(number: int) -> BatchRow:
        prompt, length = list(LENGTHS.items())[number]
        ids = list(backbone.tokenizer(prompt)["input_ids"])
        return BatchRow(prompt, ids, length, DRAWN, seed=number)

    together = [row(number) for number in range(len(LENGTHS))]
    alone = [row(number) for number in range(len(LENGTHS))]
    with torch.inference_mode():
        generate(loaded, together, lambda: None)
        for one in alone:
            generate(loaded, [one], lambda: None)
    for one, neighbour in zip(alone, together, strict=True):
        assert neighbour.tokens == one.tokens
        likelihoods = [[entry.logprob for entry in row.logprobs] for row in (neighbour, one)]
        assert likelihoods[0] == pytest.approx(likelihoods[1], abs=1e-4)
