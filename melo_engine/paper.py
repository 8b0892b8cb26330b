"""MELO as published: the baseline of every benchmark. Use `Editor` to edit.

    key      hidden state at the last position of the padded batch
    index    clusters: centre, radius, block; a key joins a cluster of its own label and moves its
             centre, or grows its radius; a conflict splits both radii at half the distance
    blocks   one for each batch of edits, trained one batch after the other, teacher-forced

Yu et al., AAAI 2024, "MELO: Enhancing Model Editing with Neuron-Indexed Dynamic LoRA", section
"Vector Database". Its known weaknesses are part of it: routes depend on padding, and a conflict at
distance 0 leaves a point that belongs to no block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from melo_engine.backbone import Backbone
from melo_engine.blocks import GatheredBlocks
from melo_engine.encoders import forward_to_key
from melo_engine.generating import texts_of
from melo_engine.runtime import Pass
from melo_engine.surgery import projection_sizes
from melo_engine.training_examples import IGNORE, TrainingExample, example_batch
from melo_engine.types import EditRequest, Progress


@dataclass(frozen=True, slots=True)
class PaperSettings:
    """The published recipe: radius of a new cluster, rank, steps and batch of a block.

    seed: of the blocks' start.
    """

    initial_radius: float = 2.0
    rank: int = 2
    steps: int = 50
    learning_rate: float = 1e-2
    batch: int = 10
    seed: int = 0


@dataclass(slots=True)
class Cluster:
    """centre (K,); block: index of its block; label: what decides whether two keys conflict."""

    centre: np.ndarray
    radius: float
    block: int
    label: tuple[int, ...]
    keys: list[np.ndarray] = field(default_factory=list)


class PaperIndex:
    """The vector database of the paper, walked cluster by cluster."""

    def __init__(self, initial_radius: float) -> None:
        self.initial_radius = initial_radius
        self.clusters: list[Cluster] = []

    def add(self, key: np.ndarray, block: int, label: tuple[int, ...]) -> None:
        """Put a key in: a new cluster, or the nearest one's expansion, or a split."""
        nearest, distance = self._nearest(key)
        if nearest is None or distance > self.initial_radius + nearest.radius:
            self.clusters.append(Cluster(key, self.initial_radius, block, label, [key]))
        elif nearest.label == label and nearest.block == block:
            nearest.keys.append(key)
            nearest.centre = np.mean(nearest.keys, axis=0)
            farthest = max(float(np.linalg.norm(k - nearest.centre)) for k in nearest.keys)
            nearest.radius = max(nearest.radius, farthest)
        else:
            half = distance / 2 - 1e-5
            nearest.radius = half
            self.clusters.append(Cluster(key, half, block, label, [key]))

    def find(self, key: np.ndarray) -> int | None:
        """The block of the nearest cluster, None outside its radius."""
        nearest, distance = self._nearest(key)
        return nearest.block if nearest is not None and distance <= nearest.radius else None

    def _nearest(self, key: np.ndarray) -> tuple[Cluster | None, float]:
        best, least = None, float("inf")
        for cluster in self.clusters:
            distance = float(np.linalg.norm(cluster.centre - key))
            if distance < least:
                best, least = cluster, distance
        return best, least


class PaperEditor:
    """Edits and asks a backbone as published."""

    def __init__(self, backbone: Backbone, settings: PaperSettings | None = None) -> None:
        self.backbone = backbone
        self.settings = settings or PaperSettings()
        self.index = PaperIndex(self.settings.initial_radius)
        self.blocks: list[list[tuple[Tensor, Tensor]]] = []
        self._chance = torch.Generator().manual_seed(self.settings.seed)

    def edit(
        self,
        requests: Sequence[EditRequest],
        progress: Progress | None = None,
    ) -> None:
        """Train a block for each batch of requests in turn, then put their keys in."""
        size = self.settings.batch
        for start in range(0, len(requests), size):
            batch = requests[start : start + size]
            examples = [
                TrainingExample(r.id, (r.prompt,), tuple(self.backbone.encode_target(r.target)))
                for r in batch
            ]
            self.blocks.append(self._train(examples))
            keys = self._keys([r.question for r in batch])
            for key, example in zip(keys, examples, strict=True):
                self.index.add(key, len(self.blocks) - 1, example.target)
            if progress is not None:
                progress("paper", min(start + size, len(requests)), len(requests))

    @torch.inference_mode()
    def answer(self, prompts: Sequence[str], batch_size: int = 32) -> list[str]:
        """Texts, greedily decoded, each row with the block that its padded key falls to."""
        texts: list[str] = []
        for start in range(0, len(prompts), batch_size):
            batch = list(prompts[start : start + batch_size])
            routes = [self.index.find(key) for key in self._keys(batch)]
            encoded = self.backbone.encode(batch)
            with self.backbone.runtime.running(Pass(self._gather(routes))):
                room = {"max_new_tokens": self.backbone.max_answer_tokens}
                texts += texts_of(self.backbone, encoded, room)
        return texts

    def _keys(self, prompts: Sequence[str]) -> np.ndarray:
        """(N, H): the last position of the padded batch, padding or not."""
        batch = self.backbone.encode(prompts, padding_side="right")
        with torch.inference_mode():
            hidden = self.backbone.runtime.read_hidden(lambda: forward_to_key(self.backbone, batch))
        keys: np.ndarray = hidden[:, -1].float().cpu().numpy()
        return keys

    def _gather(self, routes: Sequence[int | None]) -> GatheredBlocks | None:
        rows = [i for i, block in enumerate(routes) if block is not None]
        if not rows:
            return None
        chosen = [self.blocks[routes[i]] for i in rows]  # type: ignore[index]
        pairs = tuple(
            (torch.stack([c[t][0] for c in chosen]), torch.stack([c[t][1] for c in chosen]))
            for t in range(len(chosen[0]))
        )
        return GatheredBlocks(torch.tensor(rows, device=self.backbone.device), len(routes), pairs)

    def _train(self, examples: Sequence[TrainingExample]) -> list[tuple[Tensor, Tensor]]:
        """One shared block for the batch; every step runs the whole network."""
        device, dtype = self.backbone.device, self.backbone.dtype
        pairs = []
        for target in self.backbone.runtime.targets:
            size_in, size_out = projection_sizes(target)
            start = torch.randn(size_in, self.settings.rank, generator=self._chance)
            a = (start / size_in**0.5).to(device)
            b = torch.zeros(self.settings.rank, size_out, device=device)
            pairs.append((a.requires_grad_(), b.requires_grad_()))
        optimiser = torch.optim.Adam([t for p in pairs for t in p], lr=self.settings.learning_rate)
        batch = example_batch(self.backbone, examples)
        rows = torch.arange(len(batch.owner), device=device)
        for _ in range(self.settings.steps):
            shared = tuple(
                (a.to(dtype).expand(len(rows), -1, -1), b.to(dtype).expand(len(rows), -1, -1))
                for a, b in pairs
            )
            with self.backbone.runtime.running(Pass(GatheredBlocks(rows, len(rows), shared))):
                logits = batch.forward(self.backbone)
            loss = cross_entropy(
                logits.flatten(0, -2).float(), batch.labels.flatten(), ignore_index=IGNORE
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return [(a.detach().to(dtype), b.detach().to(dtype)) for a, b in pairs]
