"""Learn the relation part of keys, once for each encoder.

Texts that ask the same in other words are drawn together, texts that ask something else apart
(supervised InfoNCE), those about the same kind of subject most. The texts come from the contrast corpus,
and from `practice` where a caller has edits with rephrases that are *not* served; their near-misses are
made as `near_misses` does. The encoder stays as it is.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, dropout, normalize

from melo_engine import subwords
from melo_engine.contrast.corpus import (
    ENGLISH,
    Corpus,
    Relation,
    corpus_for,
    labelled_wordings,
    other_languages,
)
from melo_engine.encoders import SentenceEncoder
from melo_engine.keys import PLACEHOLDER, KeyReader, relation_text
from melo_engine.matching.names import name_in
from melo_engine.near_misses import SLOT, NearMisses
from melo_engine.projection import KeyProjection
from melo_engine.types import EditRequest, Progress

MAX_TOKENS = 40
READ_TOGETHER = 1024  # texts between two reports of progress
NEGATIVES = 3
DROPOUT = 0.1
TEMPERATURE = 0.08
OTHER_KIND = 1.5  # how much less, as a logit, relations count that are about other kinds of subject
PRACTICE_WEIGHT = 2.0  # of the loss on practice edits, where there are some


@dataclass(frozen=True, slots=True)
class LearningRecipe:
    """steps: of AdamW; relations: in one step, `wordings` of each; practice: pairs in one step."""

    steps: int = 250
    relations: int = 48
    wordings: int = 4
    practice: int = 128
    rate: float = 2e-3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LetterRecipe:
    """steps: of Adam; relations: of one language in a step, `wordings` of each."""

    steps: int = 600
    relations: int = 28
    wordings: int = 4
    rate: float = 1e-2
    seed: int = 0


def learn_projection(
    reader: KeyReader,
    practice: Sequence[EditRequest] = (),
    recipe: LearningRecipe | None = None,
    progress: Progress | None = None,
) -> KeyProjection:
    """Fit a KeyProjection to the reader's encoder. Deterministic under the recipe's seed.

    practice: requests whose rephrases may be learned from; leave out whatever is tested.
    """
    recipe = recipe or LearningRecipe()
    wordings = labelled_wordings(corpus_for(reader.encoder), recipe.seed, PLACEHOLDER)
    pairs = _practice(practice, recipe.seed)
    states, mask = _read(
        reader, [t for t, _, _ in wordings], progress, "reading the contrast corpus"
    )
    practice_states = _read(
        reader, [text for row in pairs for text in row], progress, "reading practice edits"
    )
    relation = torch.tensor([r for _, r, _ in wordings])
    kinds = sorted({k for _, _, k in wordings})
    kind = torch.tensor([kinds.index(k) for _, _, k in wordings])
    torch.manual_seed(recipe.seed)
    projection = KeyProjection(reader.encoder.hidden_size).to(reader.encoder.device)
    real = states[mask].float()  # (tokens, H)
    projection.mean.copy_(real.mean(0))
    projection.deviation.copy_(real.std(0) + 1e-6)
    members = [(relation == r).nonzero()[:, 0] for r in range(int(relation.max()) + 1)]
    generator = torch.Generator().manual_seed(recipe.seed)
    optimiser = torch.optim.AdamW(
        [p for p in projection.parameters() if p.requires_grad], lr=recipe.rate, weight_decay=0.01
    )
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        chosen = torch.randperm(len(members), generator=generator)[: recipe.relations].tolist()
        drawn = (recipe.wordings,)
        rows = torch.cat(
            [members[r][torch.randint(len(members[r]), drawn, generator=generator)] for r in chosen]
        )
        keys = _relation(projection, (states, mask), rows)
        loss = _relation_loss(keys, relation[rows].to(keys.device), kind[rows].to(keys.device))
        if pairs:
            picked = torch.randperm(len(pairs), generator=generator)[: recipe.practice]
            width = 2 + NEGATIVES
            rows = (picked[:, None] * width + torch.arange(width)).flatten()
            practice_loss = _practice_loss(_relation(projection, practice_states, rows), width)
            loss = loss + PRACTICE_WEIGHT * practice_loss
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if progress is not None:
            progress("learning the key projection", step + 1, recipe.steps)
    projection.eval().requires_grad_(False)
    if (
        reader.encoder.name == SentenceEncoder.name
    ):  # of hidden states more would be caught than found
        projection.known = known_relations(reader, projection, progress)
        known = _learned_first(corpus_for(reader.encoder))
        projection.known_english = torch.tensor([r.language == ENGLISH for r in known])
        projection.letters = learn_letters(other_languages(), progress=progress)
        projection.known_by_letters = known_by_letters(projection.letters)
        projection.to(reader.encoder.device)
    return projection


def known_relations(
    reader: KeyReader, projection: KeyProjection, progress: Progress | None = None
) -> Tensor:
    """The middle of each relation's wordings, a unit vector (relations, R) float16.

    Also of those that were held out: nothing is learned of them, but a question that asks one is known.
    """
    relations = _learned_first(corpus_for(reader.encoder))
    texts = [text for r in relations for text in _texts(r)]
    keys = torch.empty(len(texts), projection.relation_size)
    read = KeyReader(reader.encoder, projection).read
    for start in range(0, len(texts), READ_TOGETHER):
        part = texts[start : start + READ_TOGETHER]
        keys[start : start + len(part)] = torch.from_numpy(read(part))[:, : keys.shape[1]]
        if progress is not None:
            progress("placing known relations", start + len(part), len(texts))
    sizes = [len(r.wordings) for r in relations]
    middles = [own.mean(0) for own in torch.split(keys, sizes)]
    return normalize(torch.stack(middles), dim=1).half().to(projection.mean.device)


def learn_letters(
    source: Corpus, recipe: LetterRecipe | None = None, progress: Progress | None = None
) -> Tensor:
    """Vectors (BUCKETS, SIZE) float16 of trigrams, see `subwords`. Deterministic under the recipe's seed.

    They are drawn at random, so that texts with the same letters lie near each other, and learned as keys
    are, one language in a step.
    """
    recipe = recipe or LetterRecipe()
    by_language: defaultdict[str, list[list[str]]] = defaultdict(list)
    for relation in source.learned_from:
        by_language[relation.language].append(_texts(relation))
    chooser, generator = random.Random(recipe.seed), torch.Generator().manual_seed(recipe.seed)
    drawn_at_random = torch.randn(subwords.BUCKETS, subwords.SIZE, generator=generator)
    vectors = torch.nn.Parameter(drawn_at_random / math.sqrt(subwords.SIZE))
    optimiser = torch.optim.Adam([vectors], lr=recipe.rate)
    languages = sorted(by_language)
    for step in range(recipe.steps):
        relations = by_language[languages[step % len(languages)]]
        chosen = chooser.sample(range(len(relations)), min(recipe.relations, len(relations)))
        drawn = [
            (r, t)
            for r in chosen
            for t in chooser.sample(relations[r], min(recipe.wordings, len(relations[r])))
        ]
        asked = torch.tensor([r for r, _ in drawn])
        keys = subwords.read_letters(vectors, [t for _, t in drawn])
        loss = _relation_loss(keys, asked, torch.zeros_like(asked))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if progress is not None:
            progress("learning other languages' letters", step + 1, recipe.steps)
    return vectors.detach().half()


def known_by_letters(vectors: Tensor) -> Tensor:
    """As `known_relations`, of the relations in other languages (relations, SIZE) float16."""
    keys = [
        subwords.read_letters(vectors.float(), _texts(r)).mean(0)
        for r in _learned_first(other_languages())
    ]
    return normalize(torch.stack(keys), dim=1).half()


def _learned_first(source: Corpus) -> tuple[Relation, ...]:
    return (*source.learned_from, *source.held_out)


def _texts(relation: Relation) -> list[str]:
    return [wording.replace(SLOT, PLACEHOLDER) for wording in relation.wordings]


def _practice(requests: Sequence[EditRequest], seed: int) -> list[list[str]]:
    """Relation texts of [prompt, rephrase, near-miss, ...] for each usable request."""
    near = NearMisses(requests, seed)
    rows = []
    for request in requests:
        misses = near.other_relations(request, NEGATIVES)
        if request.rephrases and len(misses) == NEGATIVES:
            prompts = (request.question, request.rephrases[0], *misses)
            rows.append([relation_text(p, name_in(p, request.names)) for p in prompts])
    return rows


def _read(
    reader: KeyReader, texts: list[str], progress: Progress | None, what: str
) -> tuple[Tensor, Tensor]:
    """States (N, MAX_TOKENS, H) float16 and mask (N, MAX_TOKENS). Of longer texts the end is kept."""
    states = torch.zeros(len(texts), MAX_TOKENS, reader.encoder.hidden_size, dtype=torch.float16)
    mask = torch.zeros(len(texts), MAX_TOKENS, dtype=torch.bool)
    done = 0
    for rows, hidden, real in reader.encoder.read(texts, batch_size=128):
        for row, h, m in zip(rows, hidden, real.bool(), strict=True):
            token_states = h[m][-MAX_TOKENS:]
            states[row, : len(token_states)] = token_states.to("cpu", torch.float16)
            mask[row, : len(token_states)] = True
        done += len(rows)
        if progress is not None:
            progress(what, done, len(texts))
    return states, mask


def _relation(projection: KeyProjection, source: tuple[Tensor, Tensor], rows: Tensor) -> Tensor:
    device = projection.mean.device
    mask = source[1][rows]
    width = int(mask.sum(1).max())
    states = source[0][rows, :width].to(device).float()
    states = dropout((states - projection.mean) / projection.deviation, DROPOUT)
    return projection.learned_relation(states, mask[:, :width].to(device))


def _relation_loss(keys: Tensor, relation: Tensor, kind: Tensor) -> Tensor:
    """Each wording finds the others of its relation among all (Khosla et al. 2020, L_out)."""
    similarity = keys @ keys.T / TEMPERATURE
    diagonal = torch.eye(len(keys), dtype=torch.bool, device=keys.device)
    rival = relation[:, None] != relation[None]
    same = ~rival & ~diagonal
    similarity = similarity - OTHER_KIND * (rival & (kind[:, None] != kind[None]))
    likelihood = similarity - similarity.masked_fill(diagonal, -1e4).logsumexp(1, keepdim=True)
    return -((likelihood * same).sum(1) / same.sum(1).clamp(min=1)).mean()


def _practice_loss(keys: Tensor, width: int) -> Tensor:
    """Prompt and rephrase find each other among the near-misses of the same subject."""
    prompt, rephrase, *misses = keys.view(-1, width, keys.shape[1]).unbind(1)
    reached = (prompt * rephrase).sum(1, keepdim=True)
    rivals = [(side * miss).sum(1, keepdim=True) for miss in misses for side in (prompt, rephrase)]
    logits = torch.cat([reached, *rivals], 1) / TEMPERATURE
    return cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=keys.device))
