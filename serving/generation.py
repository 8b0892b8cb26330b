"""Answer the rows of one batch, each by its own rules, in one `generate`.

    greedy rows            argmax, as the gate saw them
    rows with temperature  argmax of logits / temperature + Gumbel noise from the row's own seed,
                           which is a draw from the softmax: the same alone and in any batch

A row ends at its end token, its stop text, its length, its deadline, or when it is cancelled, as those
of a stream are whose client has gone; the others go on. Who hangs up on an answer in one piece is not
noticed: it is generated to its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.modeling_outputs import BaseModelOutput

from melo_engine import Asking, Backbone
from melo_engine.types import Route
from serving.loaded import Loaded

SMALL = 4  # rows from which on it pays to go on in a smaller batch
Finish = Literal["stop", "length", "late", "cancelled"]


@dataclass(eq=False)
class Row:
    """One answer in the making.

    deadline: in `time.monotonic` seconds. on_text: told of each piece of a streamed answer.
    """

    prompt: str
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    deadline: float = float("inf")
    on_text: Callable[[str], None] | None = None
    cancelled: bool = False
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    finish: Finish | None = None
    route: Route | None = None
    label: str | None = None
    scores: dict[str, float] | None = None
    sent: int = 0  # characters of the text that `on_text` has been given
    _dice: torch.Generator | None = None

    def again(self) -> None:
        """Forget what was generated, for another try."""
        self.tokens, self.text, self.finish, self.route = [], "", None, None
        self._dice = None

    def dice(self) -> torch.Generator:
        """The row's own source of chance."""
        if self._dice is None:
            self._dice = torch.Generator().manual_seed(self.seed)
        return self._dice


def generate(loaded: Loaded, rows: Sequence[Row], after_step: Callable[[], None]) -> None:
    """Fill in text, tokens, finish and route of every row; `after_step` is called after each token."""
    backbone = loaded.backbone
    with loaded.editor.asking([r.prompt for r in rows], base=loaded.base) as asked:
        batch = Batch(backbone, asked)
        steps = Steps(backbone, rows, asked.routes, after_step)
        while steps.live:
            options = loaded.editor.generation(
                max_new_tokens=max(r.max_tokens - len(r.tokens) for r in steps.live),
                stopping_criteria=StoppingCriteriaList([steps]),
            )
            if any(r.temperature > 0 for r in steps.live):
                options["logits_processor"] = LogitsProcessorList([Draw(steps.live)])
            batch.run(options)
            keep = steps.drop_ended()
            if keep:
                batch.keep(keep)


class Batch:
    """A batch whose rows leave it as they end: `generate` is called again upon its own cache.

    An encoder is run once, before; its prompts' keys are read there.
    """

    def __init__(self, backbone: Backbone, asked: Asking) -> None:
        self.model, self.asked = backbone.model, asked
        self.inputs: dict[str, Any] = dict(asked.encoded)
        self.encoded = backbone.task == "seq2seq-lm"
        if self.encoded:
            states = self.model.get_encoder()(**asked.encoded)
            self.inputs = {
                "encoder_outputs": BaseModelOutput(last_hidden_state=states.last_hidden_state),
                "attention_mask": asked.encoded["attention_mask"],
            }

    def run(self, options: dict[str, Any]) -> None:
        """Generate until the stopping criteria end it."""
        made = self.model.generate(**self.inputs, **options, return_dict_in_generate=True)
        self.sequences, self.cache = made.sequences, made.past_key_values

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows, where they are."""
        self.asked.keep(rows)
        places = torch.tensor(rows, device=self.sequences.device)
        self.cache.batch_select_indices(places)
        mask = self.inputs["attention_mask"][places]
        if self.encoded:
            states = self.inputs["encoder_outputs"].last_hidden_state[places]
            self.inputs = {
                "encoder_outputs": BaseModelOutput(last_hidden_state=states),
                "attention_mask": mask,
                "decoder_input_ids": self.sequences[places],
                "past_key_values": self.cache,
            }
            return
        added = self.sequences.shape[1] - mask.shape[1]
        self.inputs = {
            "input_ids": self.sequences[places],
            "attention_mask": torch.cat([mask, mask.new_ones(len(rows), added)], dim=1),
            "past_key_values": self.cache,
        }


def classify(loaded: Loaded, rows: Sequence[Row]) -> None:
    """Fill in label, scores (softmax, by label) and route of every row."""
    model = loaded.backbone.model
    with loaded.editor.asking([r.prompt for r in rows], base=loaded.base) as asked:
        logits = model(**asked.encoded).logits.float()  # (B, labels)
    for row, route, scores in zip(rows, asked.routes, logits.softmax(-1).tolist(), strict=True):
        row.scores = {str(model.config.id2label[i]): score for i, score in enumerate(scores)}
        row.label = max(row.scores, key=row.scores.__getitem__)
        row.route, row.finish = route, "stop"


def find_routes(loaded: Loaded, rows: Sequence[Row]) -> None:
    """Fill in the route of every row; nothing is generated."""
    if loaded.base:
        none = Route(None, None, float("nan"), float("nan"))
        routes = [none] * len(rows)
    else:
        routes = loaded.editor.routes([r.prompt for r in rows])
    for row, route in zip(rows, routes, strict=True):
        row.route, row.finish = route, "stop"


class Steps(StoppingCriteria):  # type: ignore[misc]
    """Takes each new token to its row and says when to stop: each row by its own rule, and the
    whole batch when half of it has ended, so that the rest can go on in a smaller one."""

    def __init__(
        self,
        backbone: Backbone,
        rows: Sequence[Row],
        routes: list[Route],
        after_step: Callable[[], None],
    ) -> None:
        self.backbone, self.live, self.after_step = backbone, list(rows), after_step
        self.routes = routes
        self.ends = end_tokens(backbone)

    def __call__(self, input_ids: Tensor, scores: Any, **more: Any) -> Tensor:
        """input_ids: (B, T) so far. Returns (B,) bool, true where the row has ended."""
        last, now = input_ids[:, -1].tolist(), time.monotonic()
        for i, (row, token) in enumerate(zip(self.live, last, strict=True)):
            if row.finish is None:
                row.route = row.route or self.routes[i]
                self._take(row, token, now)
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

    def end(self, row: Row, finish: Finish) -> None:
        """Close a row: its text up to the stop, all of it handed on."""
        text = self.backbone.decode(row.tokens)
        row.text = text[: stop_at(text, row.stop)]
        row.finish = finish
        self._hand_on(row, len(row.text))

    def _take(self, row: Row, token: int, now: float) -> None:
        if token in self.ends:
            return self.end(row, "stop")
        row.tokens.append(token)
        if row.stop or row.on_text is not None:
            row.text = self.backbone.decode(row.tokens)
            if stop_at(row.text, row.stop) is not None:
                return self.end(row, "stop")
            self._hand_on(row, settled(row.text, row.stop))
        if len(row.tokens) >= row.max_tokens:
            return self.end(row, "length")
        if row.cancelled:
            return self.end(row, "cancelled")
        if now > row.deadline:
            return self.end(row, "late")
        return None

    def _hand_on(self, row: Row, until: int) -> None:
        if row.on_text is not None and until > row.sent:
            row.on_text(row.text[row.sent : until])
            row.sent = until


class Draw(LogitsProcessor):  # type: ignore[misc]
    """Puts Gumbel noise on the rows that have a temperature, so that argmax draws from them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.drawn = [(i, row, row.dice()) for i, row in enumerate(rows) if row.temperature > 0]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores: (B, V) logits. Returns them with the drawn rows changed."""
        scores = scores.clone()
        for i, row, generator in self.drawn:
            logits = scores[i].float() / row.temperature  # (V,)
            if row.top_p < 1:
                logits = nucleus(logits, row.top_p)
            uniform = torch.rand(len(logits), generator=generator).clamp_(1e-20, 1 - 1e-7)
            scores[i] = logits - torch.log(-torch.log(uniform)).to(logits.device)
        return scores


def nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Logits (V,) with all but the likeliest tokens that make up `top_p` at -inf; one stays."""
    ordered, places = logits.sort(descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)  # likelier ones' share
    return logits.index_fill(0, places[before >= top_p][: len(logits) - 1], float("-inf"))


def stop_at(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop text begins, None where there is none."""
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return min(found, default=None)


def settled(text: str, stops: Sequence[str]) -> int:
    """How many characters of a growing text will not change any more.

    The last word may still grow or be joined to what follows, and its end may be the beginning of
    a stop text.
    """
    until = max(text.rfind(" "), text.rfind("\n")) + 1
    for stop in stops:
        for size in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:size]):
                until = min(until, len(text) - size)
                break
    return until


def end_tokens(backbone: Backbone) -> frozenset[int]:
    """Tokens at which `generate` ends a row."""
    ends = backbone.model.generation_config.eos_token_id
    return frozenset(ends if isinstance(ends, list) else () if ends is None else (ends,))


def room(backbone: Backbone, prompt_tokens: int) -> int:
    """Longest answer that the model has positions for."""
    config = backbone.model.config
    if backbone.task == "seq2seq-lm":
        config, prompt_tokens = getattr(config, "decoder", config), 1
    positions = getattr(config, "max_position_embeddings", None)
    return max(1, int(positions) - prompt_tokens) if positions else 2**31
