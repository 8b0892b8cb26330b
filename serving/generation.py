"""Answer the rows of one batch, each by its own rules, in one `generate`.

    greedy rows            argmax, as the gate saw them
    rows with temperature  argmax of logits / temperature + Gumbel noise from the row's own seed,
                           which is a draw from the softmax: the same alone and in any batch

Models that keep keys and values of every place are answered by `continuous`, which takes rows in between
two tokens; here are the others, such as encoder-decoders, and classifiers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.modeling_outputs import BaseModelOutput

from melo_engine import Asking, Backbone
from melo_engine.generating import generation_options
from melo_engine.types import NOWHERE, Route
from serving.loaded import Loaded
from serving.output import OutputProcessor
from serving.rows import BatchRow
from serving.sampler import Sampler

NO_TOKEN = 2**31 - 1  # in no vocabulary
SMALL = 4  # rows from which on it pays to go on in a smaller batch


def generate(loaded: Loaded, rows: Sequence[BatchRow], after_step: Callable[[], None]) -> None:
    """Fill in text, tokens, finish and route of every row; `after_step` is called after each token."""
    backbone = loaded.backbone
    with asking(loaded, rows) as prompts:
        for row, route in zip(rows, prompts.routes, strict=True):
            row.route = route
            if row.on_text is not None:
                row.on_text("", ())
        after_step()
        batch = Batch(backbone, prompts)
        steps = Steps(backbone, rows, after_step)
        while steps.live:
            options = generation_options(
                backbone,
                max_new_tokens=max(r.max_tokens - len(r.tokens) for r in steps.live),
                stopping_criteria=StoppingCriteriaList([steps]),
            )
            if any(r.sampling.touches_logits for r in steps.live):
                sampler = Sampler(steps.live, with_prompt=backbone.task == "causal-lm")
                options["logits_processor"] = LogitsProcessorList([sampler])
            if any(r.sampling.ignore_eos for r in steps.live):
                options["eos_token_id"] = [NO_TOKEN]  # `Steps` ends the others
            batch.run(options)
            keep = steps.drop_ended()
            if keep:
                batch.keep(keep)


@contextmanager
def asking(loaded: Loaded, rows: Sequence[BatchRow]) -> Iterator[Asking]:
    """`Editor.asking` for rows whose prompts are tokens already."""
    editor = loaded.editor
    encoded = padded(loaded.backbone, [row.ids for row in rows])
    routes = routes_of(loaded, rows)
    prompts = Asking(encoded, routes, editor.blocks_of([route.edit for route in routes]))
    with editor.runtime.running(prompts.running):
        yield prompts


def padded(backbone: Backbone, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Token ids as one batch, as `Backbone.encode` makes it: input_ids, attention_mask, (B, T) int64."""
    longest, pad = max(map(len, rows)), backbone.tokenizer.pad_token_id
    left = backbone.task == "causal-lm"
    ids, mask = [], []
    for row in rows:
        gap = longest - len(row)
        ids.append([pad] * gap + list(row) if left else list(row) + [pad] * gap)
        mask.append([0] * gap + [1] * len(row) if left else [1] * len(row) + [0] * gap)
    batch = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    return {name: tensor.to(backbone.device) for name, tensor in batch.items()}


class Batch:
    """A batch whose rows leave it as they end: `generate` is called again upon its own cache.

    An encoder is run once, before; its prompts' keys are read there.
    """

    def __init__(self, backbone: Backbone, prompts: Asking) -> None:
        self.model, self.prompts = backbone.model, prompts
        self.inputs: dict[str, Any] = dict(prompts.encoded)
        self.encoded = backbone.task == "seq2seq-lm"
        if self.encoded:
            states = self.model.get_encoder()(**prompts.encoded)
            self.inputs = {
                "encoder_outputs": BaseModelOutput(last_hidden_state=states.last_hidden_state),
                "attention_mask": prompts.encoded["attention_mask"],
            }

    def run(self, options: dict[str, Any]) -> None:
        """Generate until the stopping criteria end it."""
        output = self.model.generate(**self.inputs, **options, return_dict_in_generate=True)
        self.sequences, self.cache = output.sequences, output.past_key_values

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows, where they are."""
        self.prompts.keep(rows)
        places = torch.tensor(rows, device=self.sequences.device)
        self.cache.batch_select_indices(places)
        mask = self.inputs["attention_mask"][places]
        if self.encoded:
            states = self.inputs["encoder_outputs"].last_hidden_state[places]
            written = self.sequences[places]
            self.inputs = {
                "encoder_outputs": BaseModelOutput(last_hidden_state=states),
                "attention_mask": mask,
                "decoder_input_ids": written,
                # As long as the tokens, so that `generate` reads none again that is in the cache.
                "decoder_attention_mask": torch.ones_like(written),
                "past_key_values": self.cache,
            }
            return
        added = self.sequences.shape[1] - mask.shape[1]
        self.inputs = {
            "input_ids": self.sequences[places],
            "attention_mask": torch.cat([mask, mask.new_ones(len(rows), added)], dim=1),
            "past_key_values": self.cache,
        }


def classify(loaded: Loaded, rows: Sequence[BatchRow]) -> None:
    """Fill in label, scores (softmax, by label) and route of every row."""
    model = loaded.backbone.model
    with asking(loaded, rows) as prompts:
        logits = model(**prompts.encoded).logits.float()  # (B, labels)
    for row, route, scores in zip(rows, prompts.routes, logits.softmax(-1).tolist(), strict=True):
        row.scores = {str(model.config.id2label[i]): score for i, score in enumerate(scores)}
        row.label = max(row.scores, key=row.scores.__getitem__)
        row.route, row.finish = route, "stop"


def find_routes(loaded: Loaded, rows: Sequence[BatchRow]) -> None:
    """Fill in the route of every row; nothing is generated."""
    for row, route in zip(rows, routes_of(loaded, rows), strict=True):
        row.route, row.finish = route, "stop"


def routes_of(loaded: Loaded, rows: Sequence[BatchRow]) -> list[Route]:
    """Where each row's prompt falls, in one key pass for all of them."""
    if loaded.base:
        return [NOWHERE] * len(rows)
    return loaded.editor.routes([row.prompt for row in rows])


class Steps(StoppingCriteria):  # type: ignore[misc]
    """Takes each new token to its row and says when to stop: each row by its own rule, and the
    whole batch when half of it has ended, so that the rest can go on in a smaller one."""

    def __init__(
        self, backbone: Backbone, rows: Sequence[BatchRow], after_step: Callable[[], None]
    ) -> None:
        self.live, self.after_step = list(rows), after_step
        self.output = OutputProcessor(backbone)

    def __call__(self, input_ids: Tensor, scores: Any, **more: Any) -> Tensor:
        """input_ids: (B, T) so far. Returns (B,) bool, true where the row has ended."""
        self.output.take(self.live, input_ids[:, -1].tolist())
        self.after_step()
        ended = torch.tensor([r.finish is not None for r in self.live], device=input_ids.device)
        going = len(self.live) - int(ended.sum())
        if len(self.live) >= SMALL and 2 * going <= len(self.live):
            ended[:] = True
        return ended

    def drop_ended(self) -> list[int]:
        """Forget the rows that have ended; the places of the others, in the batch until now."""
        keep = [i for i, row in enumerate(self.live) if row.finish is None]
        self.live = [self.live[i] for i in keep]
        return keep


def prompt_room(backbone: Backbone, limit: int | None) -> int:
    """Longest prompt that can be asked. limit: what was set; else all but one place of a single stack."""
    if limit is None and backbone.task == "causal-lm" and (positions := _positions(backbone)):
        return max(1, positions - 1)
    return backbone.max_prompt_tokens


def answer_room(backbone: Backbone, prompt_tokens: int) -> int:
    """Longest answer that the model has positions for."""
    positions = _positions(backbone)
    if positions is None:
        return 2**31
    return max(1, positions - (1 if backbone.task == "seq2seq-lm" else prompt_tokens))


def usual_length(backbone: Backbone, prompt_tokens: int) -> int:
    """Longest answer where none is asked for: what generation_config says, else all the room there is."""
    if backbone.task == "causal-lm" and _positions(backbone) is not None:
        length = getattr(backbone.model.generation_config, "max_new_tokens", None)
        return int(length) if length else answer_room(backbone, prompt_tokens)
    return backbone.max_answer_tokens


def _positions(backbone: Backbone) -> int | None:
    config = backbone.model.config
    if backbone.task == "seq2seq-lm":
        config = getattr(config, "decoder", config)
    positions = getattr(config, "max_position_embeddings", None)
    return int(positions) if positions else None
