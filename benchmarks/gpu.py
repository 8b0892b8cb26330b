"""Editing and serving speed on random weights of real shapes; made for one CUDA machine, 10 minutes.

    for each shape:   edits/s          melo (one job), paper (its own batches)
                      tokens/s         bare; melo and paper with 0, 50 and 100% of rows routed
                      memory           of the bare model, after editing, at the peak of each

Serving is measured in turns, one batch of each way after the other, and its medians are compared. It
uses blocks that are drawn: a random model need not learn each edit, and speed does not ask what a block
says. On a CPU it runs for a trial of the script itself; the page shows only what ran on a GPU.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.baselines.base import generate
from benchmarks.baselines.paper import Paper
from benchmarks.progress import Report, silent
from benchmarks.random_versions import RADIUS, invented_name, prompt_about, random_version
from benchmarks.shapes import shaped
from melo_engine import Backbone, Calibration, Editor, EditRequest, EditResult, EditSettings

ROUTED = (0.0, 0.5, 1.0)
UNKNOWN = 10_000_000
TOWNS = "Ald Bren Cass Dor Eld Farn Gil Hest Ivo Jor Kelm Lund Mar Nev Orr Pell".split()


@dataclass(frozen=True)
class GpuLoad:
    """How much is done. batch: prompts at once in serving; tokens: of every answer."""

    edits: int
    paper_edits: int
    batch: int
    tokens: int
    rounds: int


def bench(shapes: Sequence[str], load: GpuLoad, progress: Report = silent) -> dict[str, Any]:
    """Measure each shape in turn. Returns the device's name and a table for each."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16
    tables = []
    for number, name in enumerate(shapes):
        began = time.perf_counter()
        row = _measure(name, device, dtype, load, progress)
        tables.append({**row, "seconds": round(time.perf_counter() - began, 1)})
        progress("shapes", number + 1, len(shapes))
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
        "edits": load.edits,
        "batch": load.batch,
        "tokens": load.tokens,
        "shapes": tables,
    }


def _measure(
    name: str, device: str, dtype: torch.dtype, load: GpuLoad, progress: Report
) -> dict[str, Any]:
    _forget_peak()
    backbone = shaped(name, device=device, dtype=dtype, answer_tokens=load.tokens)
    parameters = sum(p.numel() for p in backbone.model.parameters())
    bare_mb = _memory()
    requests = [
        EditRequest(prompt_about(i), f"in {TOWNS[i % len(TOWNS)]}", invented_name(i), id=f"{i:06d}")
        for i in range(load.edits)
    ]
    # Random weights have no near-misses to calibrate on: the radii are given.
    editor = Editor(
        backbone,
        settings=EditSettings(max_rank=4),
        calibration=Calibration(RADIUS, RADIUS, 0.0, 0.005),
    )
    _warm_up(editor, requests[0])
    progress(name, 1, 4)
    _forget_peak()
    melo_rate, result = _timed_edit(editor, requests)
    trained = sum(o.status == "trained" for o in result.outcomes)
    melo_edit_mb = _peak()
    progress(name, 2, 4)
    paper = Paper(backbone)
    _forget_peak()
    began = _clock()
    paper_requests = requests[: load.paper_edits]
    paper.edit(paper_requests)
    paper_rate = len(paper_requests) / (_clock() - began)
    paper_edit_mb = _peak()
    progress(name, 3, 4)
    _answer_in_full(backbone, load.tokens)
    editor.use(random_version(backbone, load.edits))
    rows: list[dict[str, Any]] = [
        {"what": "edits a second", "melo": melo_rate, "paper": paper_rate},
        {"what": "edits trained, share", "melo": trained / load.edits},
        {
            "what": "peak memory while editing, MB",
            "melo": melo_edit_mb,
            "paper": paper_edit_mb,
            "bare": bare_mb,
        },
    ]
    for share in ROUTED:
        prompts = _prompts([r.question for r in requests], load.batch, share)
        rows += _served(editor, paper, prompts, share, load)
    progress(name, 4, 4)
    paper.close()
    return {
        "shape": name,
        "parameters": parameters,
        "rows": [{k: _rounded(v) for k, v in row.items()} for row in rows],
    }


def _timed_edit(editor: Editor, requests: Sequence[EditRequest]) -> tuple[float, EditResult]:
    """Edits a second of one job, whether or not a random model could learn each of them."""
    began = _clock()
    result = editor.edit(requests)
    return len(requests) / (_clock() - began), result


def _served(
    editor: Editor, paper: Paper, prompts: list[str], share: float, load: GpuLoad
) -> list[dict[str, Any]]:
    """Tokens a second and peak memory of the three ways, measured in turns."""
    backbone = editor.backbone

    def bare() -> None:
        with torch.inference_mode():
            generate(backbone, backbone.encode(prompts), load.tokens)

    ways: dict[str, Callable[[], Any]] = {
        "bare": bare,
        "melo": lambda: editor.answer(prompts, batch_size=len(prompts)),
        "paper": lambda: paper.editor.answer(prompts, batch_size=len(prompts)),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[str, float | None] = {}
    for turn in range(load.rounds + 1):
        for name in sorted(ways, reverse=bool(turn % 2)):
            _forget_peak()
            began = _clock()
            ways[name]()
            if turn:  # the first round warms up
                took[name].append(_clock() - began)
            peaks[name] = _peak()
    routed = sum(r.edit is not None for r in editor.routes(prompts)) / len(prompts)
    rates = {n: len(prompts) * load.tokens / statistics.median(t) for n, t in took.items()}
    label = f"{100 * share:.0f}% routed"
    return [
        {"what": f"tokens a second, {label}", **rates},
        {
            "what": f"of the bare model's speed, {label}",
            **{n: r / rates["bare"] for n, r in rates.items()},
        },
        {"what": f"rows that melo routed, {label}", "melo": routed},
        {"what": f"peak memory in serving, MB, {label}", **peaks},
    ]


def _prompts(questions: Sequence[str], batch: int, share: float) -> list[str]:
    """A batch in which this share of the prompts is an edit's own."""
    count = round(batch * share)
    routed = [questions[i % len(questions)] for i in range(count)]
    return routed + [prompt_about(UNKNOWN + i) for i in range(batch - count)]


def _warm_up(editor: Editor, request: EditRequest) -> None:
    """Load kernels and libraries; the edit is taken back."""
    editor.edit([replace(request, id="warm-up")])
    editor.revoke(list(editor.version.edits))


def _answer_in_full(backbone: Backbone, tokens: int) -> None:
    """From here on every answer has all its tokens, so that speeds can be compared."""
    backbone.model.generation_config.min_new_tokens = tokens


def _clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _forget_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak() -> float | None:
    """MB at the peak since it was forgotten; None without a GPU."""
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None


def _memory() -> float | None:
    return torch.cuda.memory_allocated() / 2**20 if torch.cuda.is_available() else None


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def table(figures: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Rows for the terminal: shape, what, melo, paper, bare."""

    def shown(value: Any) -> str:
        return "-" if value is None else f"{value:,.3f}" if value < 100 else f"{value:,.0f}"

    return [
        (shape["shape"], row["what"], *(shown(row.get(m)) for m in ("melo", "paper", "bare")))
        for shape in figures["shapes"]
        for row in shape["rows"]
    ]
