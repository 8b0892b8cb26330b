"""Compute the frozen part of a network once, and again and again only what lies above it.

A training batch never changes while its blocks are trained, and everything that runs before the
first module with a block is frozen. So one recorded pass keeps the output of each largest module
that finished before that one started, and a replayed pass hands those outputs back:

    encoder ── layers 0..k-1 ── layer k: norm, attention ── mlp.up │ mlp.down ── norm ── head
    └────────────────────── recorded ───────────────────────────── ┘ └── computed each step ──┘

It works on any model, since it goes by the order in which modules ran.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn


class FrozenPrefix:
    """Recorded outputs of one batch. `rows` cuts the batch down, `replay` runs on the recording."""

    def __init__(self, outputs: dict[nn.Module, Any], batch: int) -> None:
        self._outputs = outputs
        self.batch = batch

    @classmethod
    def record(
        cls, model: nn.Module, targets: list[nn.Module], forward: Callable[[], Any], batch: int
    ) -> FrozenPrefix:
        """Run `forward` once and keep what ran before the first of `targets`, and its own output."""
        finished: dict[nn.Module, Any] = {}
        calls: dict[nn.Module, int] = {}
        state: dict[str, nn.Module | None] = {"first": None}
        wanted = set(targets)

        def before(module: nn.Module, args: Any) -> None:
            calls[module] = calls.get(module, 0) + 1
            if module in wanted and state["first"] is None:
                state["first"] = module

        def after(module: nn.Module, args: Any, output: Any) -> None:
            if state["first"] is None or state["first"] is module:
                finished.setdefault(module, output)

        handles: list[Any] = []
        for module in model.modules():
            if module is not model:
                handles.append(module.register_forward_pre_hook(before))
                handles.append(module.register_forward_hook(after))
        try:
            with torch.no_grad():
                forward()
        finally:
            for handle in handles:
                handle.remove()
        once = {m: out for m, out in finished.items() if calls[m] == 1}
        inside = {child for m in once for child in m.modules() if child is not m}
        return cls({m: out for m, out in once.items() if m not in inside}, batch)

    def rows(self, keep: Tensor) -> FrozenPrefix:
        """The same recording for some rows of the batch. keep: (R,) int64."""
        cut = {m: cut_rows(out, keep, self.batch) for m, out in self._outputs.items()}
        return FrozenPrefix(cut, len(keep))

    @contextmanager
    def replay(self) -> Iterator[None]:
        """While inside, the recorded modules return what was recorded."""
        try:
            for module, output in self._outputs.items():
                module.forward = _returning(output)
            yield
        finally:
            for module in self._outputs:
                module.__dict__.pop("forward", None)


def _returning(output: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: output


def cut_rows(value: Any, keep: Tensor, batch: int) -> Any:
    """Index the batch dimension of every tensor in a nest of tuples, lists, dicts and outputs."""
    if isinstance(value, Tensor):
        return value[keep] if value.dim() and value.shape[0] == batch else value
    if isinstance(value, dict):
        cut = {k: cut_rows(v, keep, batch) for k, v in value.items()}
        return type(value)(**cut) if is_dataclass(value) else cut
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(
            **{f.name: cut_rows(getattr(value, f.name), keep, batch) for f in fields(value)}
        )
    if isinstance(value, tuple | list):
        return type(value)(cut_rows(v, keep, batch) for v in value)
    return value
