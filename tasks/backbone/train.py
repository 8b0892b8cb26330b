"""Teach a small GPT-2 decoder to answer from the frozen encoder's states.

    prompt ─► MiniLM (frozen, read once) ─► states (P, 384) ──┐ cross-attention
    <bos> a1 a2 ─────────────► GPT-2, 2 layers, 384 wide ◄────┘ ─► a1 a2 <eos>

The encoder never changes and has no dropout, so its states are computed once. What remains is rote
learning; three things make it quick: cross-attention starts as the mean of the prompt's states,
batches hold answers of one length, and a pair that is known by heart rests for a while.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import GPT2Config, GPT2LMHeadModel

from tasks.backbone.recipe import Recipe
from tasks.backbone.vocabulary import BOS_ID, EOS_ID, PAD_ID

WIDTH = 384  # MiniLM's, so that no projection stands between encoder and decoder
VALUE_SCALE = 0.3
IGNORED = -100
LONGEST_REST = 3  # rounds
READ_AT_ONCE = 128  # pairs, where nothing is trained


@dataclass(frozen=True)
class TrainingPair:
    """One pair, ready to be learned: states (P, 384) float32 and answer ids (T,) ending in eos."""

    states: Tensor
    answer: Tensor


@dataclass(frozen=True)
class Learned:
    """What training came to. recall: the share of pairs that greedy decoding gives back exactly."""

    recall: float
    steps: int
    visits: int


def new_decoder(vocabulary: int, recipe: Recipe) -> Any:
    """Return an untrained GPT-2 with cross-attention, without dropout; draws from torch's seed."""
    decoder = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=recipe.positions,
            n_embd=WIDTH,
            n_layer=recipe.layers,
            n_head=recipe.heads,
            n_inner=recipe.inner,
            add_cross_attention=True,
            is_decoder=True,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=BOS_ID,
            eos_token_id=EOS_ID,
            pad_token_id=PAD_ID,
        )
    )
    with torch.no_grad():
        for block in decoder.transformer.h:
            # Values pass through unchanged, so the mean of the prompt's states reaches the MLP
            # from the first step; from random weights this path takes several rounds to appear.
            attention = block.crossattention
            attention.c_attn.weight[:, WIDTH:] = VALUE_SCALE * torch.eye(WIDTH)  # (384, 384)
            attention.c_proj.weight.copy_(VALUE_SCALE * torch.eye(WIDTH))
    return decoder


def teach(
    decoder: Any,
    examples: Sequence[TrainingPair],
    recipe: Recipe,
    *,
    seed: int,
    progress: Callable[[float], None],
) -> Learned:
    """Train the decoder in place until it knows the examples or the recipe's budget is spent."""
    budget, size = recipe.budget(len(examples)), recipe.batch_size(len(examples))
    order = random.Random(seed)
    optimizer = torch.optim.AdamW(
        decoder.parameters(),
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=0.0,
        fused=True,
    )
    rest = [0] * len(examples)  # rounds that a pair still rests
    sure_before = [False] * len(examples)
    recalled = [False] * len(examples)
    steps = visits = 0
    decoder.train()
    while visits < budget:
        due = [row for row in range(len(examples)) if rest[row] == 0]
        rest = [max(0, rounds - 1) for rounds in rest]
        for batch in _batches(examples, due, size, order):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _schedule(visits / budget)
            logits, labels = _forward(decoder, examples, batch)  # (B, T, V), (B, T)
            loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
            optimizer.step()
            for row, chance in zip(batch, _certainty(logits.detach(), labels), strict=True):
                recalled[row] = chance > 0
                sure = chance > recipe.sure
                rest[row] = (LONGEST_REST if sure_before[row] else 1) if sure else 0
                sure_before[row] = sure
            steps += 1
            visits += len(batch)
        progress(min(1.0, visits / budget))
        # `recalled` mixes several steps; only a look at all pairs with one state counts.
        if sum(recalled) >= recipe.enough_recall * len(examples):
            chances = certainties(decoder, examples)
            recalled = [chance > 0 for chance in chances]
            rest = [int(chance > recipe.sure) for chance in chances]
            if sum(recalled) >= recipe.enough_recall * len(examples):
                break
    decoder.eval()
    chances = certainties(decoder, examples)
    recall = sum(chance > 0 for chance in chances) / len(examples)
    return Learned(recall=recall, steps=steps, visits=visits)


def certainties(decoder: Any, examples: Sequence[TrainingPair]) -> list[float]:
    """Return each answer's least probable token's probability, 0.0 where greedy decoding fails.

    Greedy decoding gives an answer exactly if and only if, with the answer so far given, its next
    token is the likeliest at each place: one forward pass stands for a free decode here.
    """
    order = sorted(range(len(examples)), key=lambda row: _size(examples[row]))
    chances = [0.0] * len(examples)
    for start in range(0, len(order), READ_AT_ONCE):
        batch = order[start : start + READ_AT_ONCE]
        with torch.no_grad():
            logits, labels = _forward(decoder, examples, batch)
        for row, chance in zip(batch, _certainty(logits, labels), strict=True):
            chances[row] = chance
    return chances


def _forward(
    decoder: Any, examples: Sequence[TrainingPair], batch: Sequence[int]
) -> tuple[Tensor, Tensor]:
    answers = [examples[row].answer for row in batch]
    labels = pad_sequence(answers, batch_first=True, padding_value=IGNORED)  # (B, T)
    begun = torch.full((len(batch), 1), BOS_ID)
    inputs = torch.cat([begun, labels[:, :-1].clamp(min=PAD_ID)], dim=1)  # (B, T)
    states = pad_sequence([examples[row].states for row in batch], batch_first=True)  # (B, P, 384)
    lengths = torch.tensor([len(examples[row].states) for row in batch])
    mask = (torch.arange(states.shape[1]) < lengths[:, None]).long()  # (B, P)
    output = decoder(
        input_ids=inputs,
        attention_mask=torch.ones_like(inputs),  # causal; what follows an answer is not scored
        encoder_hidden_states=states,
        encoder_attention_mask=mask,
        use_cache=False,
    )
    return output.logits, labels


def _certainty(logits: Tensor, labels: Tensor) -> list[float]:
    """Return the least token probability of each row, 0.0 where any token is not the likeliest."""
    scored = labels != IGNORED  # (B, T)
    right = ((logits.argmax(-1) == labels) | ~scored).all(dim=1)  # (B,)
    chance = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]  # (B, T)
    least = chance.masked_fill(~scored, 0.0).amin(dim=1).exp()  # (B,)
    certainty: list[float] = torch.where(right, least, 0.0).tolist()
    return certainty


def _batches(
    examples: Sequence[TrainingPair], rows: Sequence[int], size: int, order: random.Random
) -> list[list[int]]:
    """Shuffle rows into batches of alike lengths: sorted within shuffled runs of 16 batches."""
    shuffled = list(rows)
    order.shuffle(shuffled)
    batches = []
    for start in range(0, len(shuffled), size * 16):
        run = sorted(shuffled[start : start + size * 16], key=lambda row: _size(examples[row]))
        batches += [run[first : first + size] for first in range(0, len(run), size)]
    order.shuffle(batches)
    return batches


def _size(example: TrainingPair) -> tuple[int, int]:
    return len(example.answer), len(example.states)


def _schedule(spent: float) -> float:
    """Return the share of the learning rate at a share of the budget: warm-up, then cosine."""
    return min(1.0, 0.02 + spent / 0.03) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * spent)))
