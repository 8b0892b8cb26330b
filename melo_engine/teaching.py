"""From requests to trained blocks: examples, chunks, and further tries.

example ─► chunk ─► train ─► decoded freely, says its target ─► done
            ▲                   └─ no ─► again, with more rank and steps ─► failed, with what it says
            └── halved where memory does not suffice

What greedy decoding says is known without decoding where the target leads clearly at each of its
tokens, given those before, as in speculative decoding (Leviathan et al. 2023): the last step of
training has seen that. All others are decoded.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from melo_engine.backbone import Backbone
from melo_engine.blocks import gather
from melo_engine.contexts import frames, frames_for_views
from melo_engine.contrast.corpus import ENGLISH, corpus
from melo_engine.conversation import Prompt
from melo_engine.errors import MeloError, first_line
from melo_engine.generating import end_tokens, is_plain, texts_of
from melo_engine.near_misses import SLOT, is_passage
from melo_engine.prompt_states import PromptStates
from melo_engine.runtime import Pass
from melo_engine.shared_prefixes import SharedPrefixes, shared_prefixes
from melo_engine.storing import shard_of
from melo_engine.training import Trained, attempts, first_rank, train_chunk
from melo_engine.training_examples import TrainingExample
from melo_engine.types import EditOutcome, EditRequest, EditSettings, Progress

CHUNK_TOKENS = 4096  # of all prompts and targets of a chunk at most, padding counted
CLEAR = 0.25  # lead of a target at every token, in standard deviations of the backbone's logits
EXTRA_TOKENS = 4  # decoded beyond the longest target: an answer that goes on that long is wrong


class Teacher:
    """Trains blocks of one backbone by one set of settings."""

    def __init__(self, backbone: Backbone, settings: EditSettings) -> None:
        self.backbone, self.settings = backbone, settings

    def example(self, request: EditRequest) -> TrainingExample:
        prompt = int(self.backbone.encode([request.prompt])["attention_mask"].sum())
        if self.backbone.generates:
            target = tuple(self.backbone.encode_target(request.target))
        else:
            target = (self.backbone.label(request.target),)
        prompts = (request.prompt, *(p for p in self._variants(request) if self.backbone.takes(p)))
        length = 0 if self.backbone.task == "seq2seq-lm" else prompt
        return TrainingExample(request.id, tuple(dict.fromkeys(prompts)), target, length)

    def _variants(self, request: EditRequest) -> list[Prompt]:
        """Other prompts to train on: rephrases, the question in contexts, other questions.

        For a chat model the other questions stand in contexts, which costs no further rows; what stands
        before a question is read once for all edits (`SharedPrefixes`).
        """
        passage = self.backbone.task == "causal-lm" and is_passage(request.question)
        views = 0 if passage or not self.backbone.generates else self.settings.views
        extra: list[Prompt] = list(request.rephrases)
        if not self.backbone.is_chat:
            return [*extra, *_views(request, views)]
        question = request.question
        if not isinstance(request.prompt, str) and not request.needs_conversation:
            extra.append(question)
        if not request.needs_conversation:
            extra += [frame(question) for frame in frames(request.id, self.settings.contexts)]
        framed = frames_for_views(request.id, views)
        extra += [frame(view) for frame, view in zip(framed, _views(request, views), strict=False)]
        return extra

    def teach(
        self,
        examples: Sequence[TrainingExample],
        outcomes: dict[str, EditOutcome],
        progress: Progress | None,
    ) -> list[Trained]:
        """Train all examples, those that don't decode to their targets again with more of everything."""
        done: dict[str, Trained] = {}
        prefixes = self._prefixes(examples)
        if not prefixes and self.backbone.task == "causal-lm":
            examples = [
                replace(x, length=max(map(len, self.backbone.tokens(x.prompts)))) for x in examples
            ]
        by_rank: defaultdict[int, list[TrainingExample]] = defaultdict(list)
        for example in examples:
            by_rank[first_rank(self.settings, len(example.target))].append(example)
        for first in sorted(by_rank):
            waiting = by_rank[first]
            for rank, settings in attempts(self.settings, first):
                again: list[TrainingExample] = []
                for chunk in self._chunks(waiting):
                    trained = self._try(chunk, rank, settings, outcomes, prefixes)
                    done |= trained
                    again += [x for x in chunk if x.id not in trained and outcomes[x.id].rank]
                    if progress is not None:
                        progress("training blocks", len(done), len(examples))
                waiting = again
        return [done[x.id] for x in examples if x.id in done]

    def _prefixes(self, examples: Sequence[TrainingExample]) -> SharedPrefixes | None:
        """What the prompts of all examples begin with, for models that read them token after token."""
        if self.backbone.task != "causal-lm" or not examples:
            return None
        prompts = [p for example in examples for p in example.prompts]
        rows = [tuple(ids) for ids in self.backbone.tokens(prompts)]
        return SharedPrefixes(PromptStates(self.backbone), shared_prefixes(rows))

    def _chunks(self, examples: Sequence[TrainingExample]) -> list[list[TrainingExample]]:
        """Examples of like length together: a pass is as long as its longest target and prompt."""
        chunks: list[list[TrainingExample]] = []
        prompt = target = rows = 0
        for example in sorted(examples, key=lambda x: (len(x.target), x.length)):
            prompt, target = max(prompt, example.length), max(target, len(example.target))
            rows += len(example.prompts)
            full = bool(chunks) and len(chunks[-1]) == self.settings.chunk
            if not chunks or full or rows * (prompt + target) > CHUNK_TOKENS:
                chunks.append([])
                prompt, target = example.length, len(example.target)
                rows = len(example.prompts)
            chunks[-1].append(example)
        return chunks

    def _try(
        self,
        chunk: Sequence[TrainingExample],
        rank: int,
        settings: EditSettings,
        outcomes: dict[str, EditOutcome],
        prefixes: SharedPrefixes | None,
    ) -> dict[str, Trained]:
        """Train one chunk and write its outcomes. Returns the blocks that say their targets."""
        began = time.perf_counter()
        trained = self._train_fitting(chunk, rank, settings, outcomes, prefixes)
        texts = self._decoded(chunk, trained)
        seconds = (time.perf_counter() - began) / len(chunk)
        done = {}
        for example in chunk:
            block = trained.get(example.id)
            if block is None:
                continue
            ok = texts[example.id] == self._expected(example)
            spent = outcomes[example.id].seconds if example.id in outcomes else 0.0
            outcomes[example.id] = EditOutcome(
                example.id,
                "trained" if ok else "failed",
                "" if ok else f'decodes to "{texts[example.id][:80]}" at rank {rank}',
                block.steps,
                rank,
                seconds=spent + seconds,
            )
            if ok:
                done[example.id] = block
        return done

    def _train_fitting(
        self,
        chunk: Sequence[TrainingExample],
        rank: int,
        settings: EditSettings,
        outcomes: dict[str, EditOutcome],
        prefixes: SharedPrefixes | None,
    ) -> dict[str, Trained]:
        """One chunk; halved where memory does not suffice or a loss breaks down, to save the others."""
        try:
            blocks = train_chunk(self.backbone, chunk, settings, rank, prefixes)
            return {b.id: b for b in blocks}
        except (RuntimeError, MeloError, MemoryError) as error:
            if not isinstance(error, MeloError) and not _out_of_memory(error):
                raise
            if len(chunk) == 1:
                outcomes[chunk[0].id] = EditOutcome(chunk[0].id, "failed", first_line(error))
                return {}
            torch.cuda.empty_cache()
            half = len(chunk) // 2
            return self._train_fitting(
                chunk[:half], rank, settings, outcomes, prefixes
            ) | self._train_fitting(chunk[half:], rank, settings, outcomes, prefixes)

    @torch.inference_mode()
    def _decoded(
        self, chunk: Sequence[TrainingExample], trained: dict[str, Trained]
    ) -> dict[str, str]:
        """What each example's own prompt decodes to, freely, with its block."""
        examples = [x for x in chunk if x.id in trained]
        texts = {}
        if is_plain(self.backbone):
            ends = end_tokens(self.backbone)
            clear = [x for x in examples if trained[x.id].lead > CLEAR]
            texts = {x.id: self._expected(x) for x in clear if ends.isdisjoint(x.target[:-1])}
        examples = [x for x in examples if x.id not in texts]
        if not examples:
            return texts
        try:
            return texts | self._decoded_together(examples, trained)
        except (RuntimeError, MemoryError) as error:
            if len(examples) == 1 or not _out_of_memory(error):
                raise
            torch.cuda.empty_cache()
            half = len(examples) // 2
            halves = [self._decoded(part, trained) for part in (examples[:half], examples[half:])]
            return texts | halves[0] | halves[1]

    def _decoded_together(
        self, examples: Sequence[TrainingExample], trained: dict[str, Trained]
    ) -> dict[str, str]:
        shard = shard_of(
            [trained[x.id] for x in examples], np.zeros((len(examples), 1)), self.backbone.dtype
        )
        places = [(shard, i) for i in range(len(examples))]
        blocks = gather(places, self.backbone.device, self.backbone.dtype)
        encoded = self.backbone.encode([x.prompts[0] for x in examples])
        longest = max(len(x.target) for x in examples)
        room = min(longest + EXTRA_TOKENS, self.backbone.max_answer_tokens)
        with self.backbone.runtime.running(Pass(blocks)):
            texts = texts_of(self.backbone, encoded, {"max_new_tokens": room})
        return {x.id: text for x, text in zip(examples, texts, strict=True)}

    def _expected(self, example: TrainingExample) -> str:
        if self.backbone.generates:
            return self.backbone.decode(list(example.target))
        return str(self.backbone.model.config.id2label[example.target[0]])


def _out_of_memory(error: Exception) -> bool:
    """CUDA raises an error class of its own; the CPU's allocator only says so in the message."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(
        error
    )


def _views(request: EditRequest, count: int) -> list[str]:
    """Other questions about the subject, trained to the same target.

    A block acts only where it is routed to, so it may as well say its target whatever the wording:
    then it does so for rephrases that it has not seen.
    """
    relations = [r for r in corpus(services=False).relations if r.language == ENGLISH]
    chooser = random.Random(request.id)
    wordings = [chooser.choice(chooser.choice(relations).wordings) for _ in range(count)]
    return [w.replace(SLOT, request.subject or request.question) for w in wordings]
