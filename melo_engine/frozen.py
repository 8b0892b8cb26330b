"""Compute the frozen part of a network once, and again and again only what lies above it.

A training batch never changes while its blocks are trained, and everything that runs before the
first module with a block is frozen. So one recorded pass keeps the output of each largest module
that finished before that one started, and a replayed pass hands those outputs back:

    encoder ── layers 0..k-1 ── layer k: norm, attention ── mlp.up │ mlp.down ── norm ── head
    └────────────────────── recorded ───────────────────────────── ┘ └── computed each step ──┘

What runs later but sees only what there was before is frozen too: the keys and values that a
decoder's upper layers make of the encoder's output. It works on any model, since it goes by the
order in which modules ran and by the tensors they were given.

Where no attention runs after the first block, as in models of less than eight layers, each position
is on its own from there on, and those that no label stands at can be left out.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.utils._pytree import tree_iter, tree_map_only

from melo_engine.surgery import is_attention

T = TypeVar("T")


class FrozenPrefix:
    """Recorded outputs of one batch. `rows` cuts the batch down, `replay` runs on the recording.

    apart: no attention ran after the first target, so no position sees another one there.
    """

    def __init__(self, outputs: dict[nn.Module, Any], batch: int, apart: bool) -> None:
        self._outputs = outputs
        self.batch = batch
        self.apart = apart

    @classmethod
    def record(
        cls, model: nn.Module, targets: list[nn.Module], forward: Callable[[], T], batch: int
    ) -> tuple[FrozenPrefix, T]:
        """Run `forward` once and keep what ran before the first of `targets`, and that one's output.

        Returns the recording and `forward`'s result. Blocks that are on must still add nothing, since a
        target's output is kept with what hooks have added to it.
        """
        finished: dict[nn.Module, Any] = {}
        calls: dict[nn.Module, int] = {}
        first: nn.Module | None = None
        wanted = set(targets)
        holders = {m for m in model.modules() if not wanted.isdisjoint(m.modules())}
        early: dict[int, weakref.ref[Tensor]] = {}  # tensors there were before the first target ran

        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            nonlocal first
            calls[module] = calls.get(module, 0) + 1
            if module in wanted and first is None:
                first = module
            if first is None:
                early.update((id(t), weakref.ref(t)) for t in _tensors((args, kwargs)))

        def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if (
                first is None
                or first is module
                or (module not in holders and _all_early(early, (args, kwargs)))
            ):
                finished.setdefault(module, output)
                for part in module.modules():  # its own output stands for theirs: 30 layers add up
                    if part is not module:
                        finished.pop(part, None)

        handles: list[Any] = []
        for module in model.modules():
            if module is not model:
                handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
                handles.append(module.register_forward_hook(after, with_kwargs=True))
        try:
            result = forward()
        finally:
            for handle in handles:
                handle.remove()
        once = {m: out for m, out in finished.items() if calls[m] == 1}
        inside = {child for m in once for child in m.modules() if child is not m}
        recorded = {
            m: tree_map_only(Tensor, Tensor.detach, out)
            for m, out in once.items()
            if m not in inside
        }
        covered = set(recorded) | {child for m in recorded for child in m.modules()}
        apart = not any(
            is_attention(name) and module in calls and module not in covered
            for name, module in model.named_modules()
        )
        return cls(recorded, batch, apart), result

    def without(self, modules: Iterable[nn.Module]) -> FrozenPrefix:
        """The same recording, in which these modules are run anew: their own weights are trained."""
        again = set(modules)
        outputs = {m: out for m, out in self._outputs.items() if again.isdisjoint(m.modules())}
        return FrozenPrefix(outputs, self.batch, self.apart)

    def rows(self, keep: Tensor) -> FrozenPrefix:
        """The same recording for some rows of the batch. keep: (R,) int64."""
        cut = {m: cut_rows(out, keep, self.batch) for m, out in self._outputs.items()}
        return FrozenPrefix(cut, len(keep), self.apart)

    def positions(self, rows: Tensor, columns: Tensor, length: int) -> FrozenPrefix:
        """The same recording for some positions of its sequences, each as a row of its own.

        rows, columns: (N,) int64. length: of the sequences. Only where `apart`.
        """
        cut = {
            m: cut_positions(out, rows, columns, self.batch, length)
            for m, out in self._outputs.items()
        }
        return FrozenPrefix(cut, len(rows), self.apart)

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


def _tensors(nest: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_iter(nest) if isinstance(leaf, Tensor))


def _all_early(early: dict[int, weakref.ref[Tensor]], arguments: Any) -> bool:
    """Whether a module's arguments hold tensors, and only early ones: these very objects."""
    places = [early.get(id(t), lambda: None)() is t for t in _tensors(arguments)]
    return bool(places) and all(places)


def _returning(output: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: output


def cut_rows(value: Any, keep: Tensor, batch: int) -> Any:
    """Index the batch dimension of every tensor in a nest of tuples, lists, dicts and outputs."""
    return tree_map_only(Tensor, lambda t: t[keep] if t.dim() and t.shape[0] == batch else t, value)


def cut_positions(value: Any, rows: Tensor, columns: Tensor, batch: int, length: int) -> Any:
    """Take positions (N,) out of every tensor in such a nest: (batch or 1, length, ...) -> (N, 1, ...).

    Of a sequence of another length, which none of them sees any more, each gets the first position.
    """

    def take(t: Tensor) -> Tensor:
        if t.dim() < 2 or len(t) not in (1, batch):
            return t
        if t.shape[1] == length:
            return t[rows if len(t) == batch else 0, columns][:, None]
        return t[rows, :1] if len(t) == batch else t

    return tree_map_only(Tensor, take, value)
