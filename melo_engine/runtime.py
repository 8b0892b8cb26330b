"""Hooks on a backbone: read hidden states, let the blocks act.

    read_hidden(forward)   key module ──► hidden states (B, T, H); the layers above are not computed
    running(Pass(blocks))  target modules ──► y[rows] += x[rows] @ A @ B, in every forward pass inside

The hooks stay registered and return at once while no pass is on, so the bare backbone is the bare
backbone, to the bit. Modules are not replaced. A backbone has one runtime, whoever edits or asks it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from melo_engine.blocks import GatheredBlocks
from melo_engine.surgery import Surgery


class Pass:
    """One batch on its way through the model. blocks: those that act on it."""

    def __init__(self, blocks: GatheredBlocks | None = None) -> None:
        self.blocks = blocks


class _Reading(Pass):
    """A pass that ends at the key module. states: its output (B, T, H)."""

    states: Tensor | None = None


class StopForward(Exception):
    """Raised by the key hook to skip the layers above it."""


class Runtime:
    """Owns the hooks on one model. `running(pass)` puts a pass on, for this thread only."""

    def __init__(self, model: nn.Module, surgery: Surgery) -> None:
        self._local = threading.local()
        self.key_module = model.get_submodule(surgery.key_module)
        self.targets = [model.get_submodule(name) for name in surgery.targets]
        self._handles = [self.key_module.register_forward_hook(self._at_key)]
        for i, target in enumerate(self.targets):
            self._handles.append(target.register_forward_hook(self._at_target(i)))

    @property
    def is_closed(self) -> bool:
        """Whether its hooks were taken out."""
        return not self._handles

    def close(self) -> None:
        """Take the hooks out again; the model is as it was."""
        while self._handles:
            self._handles.pop().remove()

    @contextmanager
    def running(self, current: Pass) -> Iterator[Pass]:
        """Let `current` act on every forward pass inside the block."""
        before = getattr(self._local, "current", None)
        self._local.current = current
        try:
            yield current
        finally:
            self._local.current = before

    def read_hidden(self, forward: Callable[[], Any]) -> Tensor:
        """Key module's output (B, T, H) for one forward call; the layers above are not computed."""
        reading = _Reading()
        with self.running(reading), contextlib.suppress(StopForward):
            forward()
        if reading.states is None:
            raise AssertionError("the key module did not run")
        return reading.states

    def _at_key(self, module: nn.Module, inputs: Any, output: Any) -> None:
        current: Pass | None = getattr(self._local, "current", None)
        if isinstance(current, _Reading):
            current.states = _hidden(output)
            raise StopForward

    def _at_target(self, index: int) -> Callable[..., Tensor | None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            current: Pass | None = getattr(self._local, "current", None)
            if current is None or current.blocks is None:
                return None
            return apply_blocks(inputs[0], output, current.blocks, index)

        return hook


def apply_blocks(x: Tensor, y: Tensor, blocks: GatheredBlocks, target: int) -> Tensor:
    """Add the blocks' update to the rows that have one.

    x: (B*k, T, in), y: (B*k, T, out), with k beams or samples a prompt, those of one prompt side by
    side. Rows without a block are left as they are, to the bit. Some models keep a module in another
    number format than the rest: the update is computed in that of x.
    """
    a, b = (part.to(x.dtype) for part in blocks.pairs[target])  # (R, in, r), (R, r, out)
    if blocks.shares:
        return y + _shared(x, a, b, blocks).to(y.dtype)
    rows = blocks.rows  # (R,)
    copies = x.shape[0] // blocks.batch
    every = len(rows) == blocks.batch
    if copies > 1 and not every:
        rows = (rows[:, None] * copies + torch.arange(copies, device=rows.device)).flatten()
    chosen = x if every else x[rows]  # (R*k, T, in), or (R*k, in) in some modules
    update = torch.bmm(torch.bmm(chosen.reshape(len(a), -1, a.shape[1]), a), b)  # (R, k*T, out)
    delta = update.reshape(*chosen.shape[:-1], b.shape[2]).to(y.dtype)
    return y + delta if every else y.index_add(0, rows, delta)


def _shared(x: Tensor, a: Tensor, b: Tensor, blocks: GatheredBlocks) -> Tensor:
    """Updates of all rows of x, (B*k, T, in) -> (B*k, T, out), by blocks that share them out."""
    copies = x.shape[0] // blocks.batch
    counts = [count for count, _ in blocks.shares]
    parts = zip(
        blocks.shares,
        torch.split(x, [count * rows * copies for count, rows in blocks.shares]),
        torch.split(a, counts),
        torch.split(b, counts),
        strict=True,
    )
    updates = [
        torch.bmm(torch.bmm(inputs.reshape(count, -1, inputs.shape[-1]), a), b).flatten(0, 1)
        for (count, _), inputs, a, b in parts
    ]
    return torch.cat(updates).reshape(*x.shape[:-1], b.shape[2])


def _hidden(output: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output
    if hasattr(output, "last_hidden_state"):
        hidden: Tensor = output.last_hidden_state
        return hidden
    first: Tensor = output[0]
    return first
