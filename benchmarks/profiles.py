"""Where the time goes in editing and serving, and the floor that operations and bytes set.

    time     another thread looks at the stack every millisecond: the innermost place in
             melo_engine gets the sample ("Editor._run" is the backbone's own generation)
    floor    every tensor operation of the same work is counted once more, apart: its floating point
             operations, and the bytes of the tensors it reads and writes
    peaks    what this machine does at best, measured in the same run: a large product, a copy of a
             buffer that stays in the cache

floor of a place = max(operations / peak, bytes / peak). It is a true lower bound: no operation is
done faster than that. What lies above is the gap: Python, small tensors, waiting.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from benchmarks.progress import Report, silent
from benchmarks.protocol import plain_rows, read_rows
from benchmarks.questions import prepared
from melo_engine import Backbone, Editor, EditRequest, Version

EVERY = 0.001  # seconds between two looks at the stack
BATCH, REPEATS = 32, 8  # prompts in a batch, batches served
SHOWN = 12  # places
ELSEWHERE = "outside melo_engine"


def bench(
    data: Path,
    cache: Path,
    *,
    edits: int = 100,
    backbone: str | None = None,
    progress: Report = silent,
) -> dict[str, Any]:
    """Profile one job of `edits` and the serving of its prompts, half of them about no edit."""

    def say(done: int) -> None:
        progress("profiling", done, 5)

    raw = read_rows(data)[: 2 * edits]
    opened = Backbone.open(backbone or prepared(raw[:edits], cache, progress))
    rows = plain_rows(raw)
    requests = [r.request for r in rows[:edits]]
    unedited = [r.request.question for r in rows[edits:]] or [r.request.question for r in rows]
    peaks = {"gflops": _peak_gflops(opened), "gb_per_second": _peak_bandwidth(opened)}
    say(1)
    _edited(opened, requests[:8])  # warms up
    version, editing_seconds, editing = _sampled(lambda: _edited(opened, requests))
    say(2)
    editing_work = _counted(lambda: _edited(opened, requests))
    say(3)
    editor = Editor(opened, version)
    prompts = _mixed_prompts(list(version.edits.values()), unedited)
    editor.answer(prompts)
    _, serving_seconds, serving = _sampled(lambda: _served(editor, prompts, REPEATS))
    say(4)
    serving_work = _counted(lambda: _served(editor, prompts, REPEATS))
    say(5)
    prompt_count = REPEATS * len(prompts)
    return {
        "backbone": opened.name,
        "device": str(opened.device),
        "peaks": peaks,
        "editing": _part(
            editing_seconds,
            editing,
            editing_work,
            peaks,
            f"one job of {len(requests):,} requests, {len(requests) / editing_seconds:.2f} a second",
        ),
        "serving": _part(
            serving_seconds,
            serving,
            serving_work,
            peaks,
            f"{prompt_count:,} prompts in batches of {len(prompts)}, half of them routed, "
            f"{prompt_count / serving_seconds:.1f} a second",
        ),
    }


class Work(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations and bytes of every tensor operation by the place that asked for it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        where = place(sys._getframe(1))
        count = flop_registry.get(func._overloadpacket)
        if func._overloadpacket is torch.ops.aten.linear:  # in inference it is not taken apart
            self.operations[where] += 2 * args[0].numel() * args[1].shape[0]
        elif count is not None:
            self.operations[where] += int(count(*args, **(kwargs or {}), out_val=out))
        if not func.is_view:
            touched = [t for t in tree_iter((args, kwargs, out)) if isinstance(t, Tensor)]
            self.bytes[where] += sum(t.numel() * t.element_size() for t in touched)
        return out


def place(frame: FrameType | None) -> str:
    """The innermost function of melo_engine on a stack, as "module.function"."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("melo_engine."):
            return f"{module.removeprefix('melo_engine.')}.{frame.f_code.co_qualname}".replace(
                ".<locals>", ""
            )
        frame = frame.f_back
    return ELSEWHERE


def _edited(backbone: Backbone, requests: Sequence[EditRequest]) -> Version:
    editor = Editor(backbone)
    return editor.edit(requests).version


def _served(editor: Editor, prompts: Sequence[str], repeats: int) -> None:
    for _ in range(repeats):
        editor.answer(prompts)


def _mixed_prompts(edits: Sequence[Any], unedited: Sequence[str]) -> list[str]:
    edited = [e.request.question for e in edits]
    half = range(BATCH // 2)
    return [edited[i % len(edited)] for i in half] + [unedited[i % len(unedited)] for i in half]


def _sampled(work: Callable[[], Any]) -> tuple[Any, float, Counter[str]]:
    """Do the work while another thread samples this one's stack. Its result, seconds and samples."""
    samples: Counter[str] = Counter()
    finished = threading.Event()
    thread_id = threading.get_ident()

    def sample() -> None:
        while not finished.wait(EVERY):
            samples[place(sys._current_frames().get(thread_id))] += 1

    with _quick_switching():
        sampler = threading.Thread(target=sample, daemon=True)
        sampler.start()
        began = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - began
        finished.set()
        sampler.join()
    return result, seconds, samples


@contextmanager
def _quick_switching() -> Iterator[None]:
    """Let the sampler have the interpreter as soon as it asks."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(EVERY / 2)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _counted(work: Callable[[], Any]) -> Work:
    counted = Work()
    with counted:
        work()
    return counted


def _part(
    seconds: float, samples: Counter[str], work: Work, peaks: dict[str, float], summary: str
) -> dict[str, Any]:
    """Places by their time, each with its floor; the last one sums up the rest."""
    total = max(1, samples.total())
    floors: defaultdict[str, float] = defaultdict(float)
    for where in work.operations.keys() | work.bytes.keys():
        by_operations = work.operations[where] / (peaks["gflops"] * 1e9)
        by_bytes = work.bytes[where] / (peaks["gb_per_second"] * 1e9)
        floors[where] = 1000 * max(by_operations, by_bytes)
    first = [where for where, _ in samples.most_common(SHOWN)]
    rest = [w for w in {*samples, *floors} if w not in first]
    shown = [(w, samples[w], floors[w]) for w in first]
    if rest:
        shown.append(
            ("everything else", sum(samples[w] for w in rest), sum(floors[w] for w in rest))
        )
    return {
        "said": f"{summary}; floor {sum(floors.values()):,.0f} ms of {1000 * seconds:,.0f} ms.",
        "seconds": round(seconds, 4),
        "floor_seconds": round(sum(floors.values()) / 1000, 4),
        "gflop": round(work.operations.total() / 1e9, 3),
        "gigabytes": round(work.bytes.total() / 1e9, 3),
        "samples": samples.total(),
        "places": [
            {
                "place": where,
                "share": round(count / total, 4),
                "ms": round(1000 * seconds * count / total, 2),
                "floor_ms": round(floor, 3),
            }
            for where, count, floor in shown
        ],
    }


def _peak_gflops(backbone: Backbone) -> float:
    """The best of several products of square matrices, in the backbone's own precision."""
    a = torch.randn(1024, 1024, device=backbone.device).to(backbone.dtype)
    best = min(_seconds(lambda: a @ a, backbone) for _ in range(8))
    return round(2 * 1024**3 / best / 1e9, 1)


def _peak_bandwidth(backbone: Backbone) -> float:
    """The best copy of 512 KB, read and written; it stays in the cache of a CPU."""
    source = torch.zeros(2**17, device=backbone.device)
    target = torch.empty_like(source)
    best = min(_seconds(lambda: target.copy_(source), backbone) for _ in range(50))
    return round(2 * source.numel() * source.element_size() / best / 1e9, 1)


def _seconds(work: Callable[[], Any], backbone: Backbone) -> float:
    def settled() -> float:
        if backbone.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    began = settled()
    work()
    return settled() - began
