"""A small GPT-2 that has learned a file's passages by heart: the backbone of the hallucination task.

GRACE (section 4.1) continues to train GPT2-XL on the hallucinated passages, so that the model really
says what the edits correct. Here a GPT-2 of 4 layers learns from nothing: the passages, and the web
texts beside them so that there is something else to keep. The folder is like any other backbone's.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.progress import Report, silent
from execution.backbone import folder
from execution.backbone.record import content_key, holds
from tasks.backbone.vocabulary import BOS_ID, EOS_ID, PAD_ID, learn_vocabulary

KIND = "passages"
IGNORED = -100


@dataclass(frozen=True)
class GptRecipe:
    """Shape, and budget in rounds over the texts. enough: training stops at this mean loss (nats)."""

    layers: int = 4
    width: int = 192
    heads: int = 6
    vocabulary: int = 4000
    positions: int = 640
    answer_tokens: int = 200
    rounds: int = 20
    enough: float = 0.35
    batch: int = 8
    rate: float = 3e-3


def prepare_gpt(
    texts: Sequence[str],
    out: Path,
    *,
    recipe: GptRecipe = GptRecipe(),
    seed: int = 0,
    progress: Report = silent,
) -> Path:
    """Train on whole texts and save to `out`; returned at once where it holds the result already."""
    key = content_key(KIND, asdict(recipe), seed, list(texts))
    if holds(out, key):
        return out
    folder.refuse_taken(out)
    tokenizer = learn_vocabulary(texts, size=recipe.vocabulary)
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    examples = [torch.tensor([*ids, EOS_ID])[: recipe.positions] for ids in encoded]
    with folder.undisturbed(torch.get_num_threads()), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _new_model(len(tokenizer), recipe)
        rounds, loss = _train(model, examples, recipe, seed, progress)

    def save(part: Path) -> None:
        with folder.undisturbed(torch.get_num_threads()):
            model.save_pretrained(part)
        tokenizer.save_pretrained(part)

    record = {
        "kind": KIND,
        "recipe": asdict(recipe),
        "seed": seed,
        "texts": len(texts),
        "rounds": rounds,
        "perplexity": round(math.exp(loss), 3),
    }
    return folder.publish(out, key, save, record)


def _new_model(vocabulary: int, recipe: GptRecipe) -> Any:
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=recipe.positions,
            n_embd=recipe.width,
            n_layer=recipe.layers,
            n_head=recipe.heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=BOS_ID,
            eos_token_id=EOS_ID,
            pad_token_id=PAD_ID,
        )
    )
    model.generation_config.max_new_tokens = recipe.answer_tokens
    model.generation_config.eos_token_id = EOS_ID
    model.generation_config.pad_token_id = PAD_ID
    return model


def _train(
    model: Any,
    examples: Sequence[torch.Tensor],
    recipe: GptRecipe,
    seed: int,
    progress: Report,
) -> tuple[int, float]:
    """Rounds made, and the mean loss (nats a token) of the last one."""
    order = random.Random(seed)
    steps = recipe.rounds * math.ceil(len(examples) / recipe.batch)
    optimisers = _optimisers(model, recipe.rate)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: min(1.0, (step + 1) / 30) * max(0.02, 1 - step / steps)
        )
        for optimiser in optimisers
    ]
    model.train()
    mean = math.inf
    for number in range(1, recipe.rounds + 1):
        losses, tokens = 0.0, 0
        for batch in _batches(examples, recipe.batch, order):
            ids = pad_sequence(batch, batch_first=True, padding_value=IGNORED)  # (B, T)
            mask = (ids != IGNORED).long()
            states = model.transformer(
                input_ids=ids.clamp(min=PAD_ID), attention_mask=mask, use_cache=False
            ).last_hidden_state[:, :-1]  # (B, T - 1, H)
            labels = ids[:, 1:]
            labelled = labels != IGNORED  # the vocabulary is computed only where a token follows
            loss = cross_entropy(model.lm_head(states[labelled]), labels[labelled])
            model.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimiser, schedule in zip(optimisers, schedules, strict=True):
                optimiser.step()
                schedule.step()
            count = int(labelled.sum())
            losses, tokens = losses + float(loss.detach()) * count, tokens + count
        mean = losses / max(1, tokens)
        progress("learning the passages", number, recipe.rounds)
        if mean <= recipe.enough:
            break
    progress("learning the passages", recipe.rounds, recipe.rounds)
    model.eval()
    return number, mean


def _optimisers(model: Any, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for all else: it gets there in a third of the rounds."""
    inner = {n: p for n, p in model.named_parameters() if p.ndim == 2 and ".h." in n}
    rest = [p for n, p in model.named_parameters() if n not in inner]
    return [
        torch.optim.Muon(
            list(inner.values()), lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(rest, lr=rate, weight_decay=0.0),
    ]


def _batches(
    examples: Sequence[torch.Tensor], size: int, order: random.Random
) -> list[list[torch.Tensor]]:
    """Shuffled batches of texts of like length."""
    shuffled = list(examples)
    order.shuffle(shuffled)
    batches = []
    for start in range(0, len(shuffled), size * 8):
        run = sorted(shuffled[start : start + size * 8], key=len)
        batches += [run[i : i + size] for i in range(0, len(run), size)]
    order.shuffle(batches)
    return batches
