"""Edit success, generality, locality and near-misses of the final state, by free greedy decoding.

rows ─ split ─► tested  ─ jobs of 100 ─► Editor ─► final version ─► every probe decoded freely
                unseen  ──────────────────────────► near-misses
                practice ─ key projection
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.protocol import (
    Probes,
    Row,
    Split,
    practice_requests,
    probes_for,
    read_rows,
    split_rows,
)
from melo_engine import Backbone, Editor, EditRequest, EditSettings
from melo_engine.contrast import Recipe, learn_projection
from melo_engine.paper import PaperEditor
from melo_engine.projection import KeyProjection

JOB = 100
INVARIANCE_SAMPLE = 100
RE_EDITED = 100
FALSE_ACTIVATIONS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)

Progress = Callable[[str, int, int], None]


def bench(
    data: Path,
    cache: Path,
    *,
    limit: int | None = None,
    methods: Sequence[str] = ("melo", "paper"),
    backbone_path: Path | None = None,
    seed: int = 0,
    settings: EditSettings | None = None,
    paper_limit: int = 100,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run the protocol on a file. Returns the record, an object for each method under its name."""
    rows = read_rows(data)
    split = split_rows(rows, limit, seed)
    path = backbone_path or _prepare(split, cache, seed, progress)
    backbone = Backbone.open(path)
    record: dict[str, Any] = {
        "data": data.name,
        "rows": {k: len(getattr(split, k)) for k in ("tested", "unseen", "practice")},
        "backbone": backbone.name,
    }
    if "melo" in methods:
        record["melo"] = bench_melo(backbone, split, cache, seed, settings, progress)
    if "paper" in methods:
        record["paper"] = bench_paper(backbone, split, seed, paper_limit, progress)
    if "melo" in record and "paper" in record:
        record["speedup"] = round(
            record["melo"]["edits_per_second"] / record["paper"]["edits_per_second"], 2
        )
    return record


def bench_melo(
    backbone: Backbone,
    split: Split,
    cache: Path,
    seed: int,
    settings: EditSettings | None,
    progress: Progress | None,
) -> dict[str, Any]:
    """This engine, one sequence of jobs."""
    projection = learned_projection(backbone, split, cache, seed, progress)
    editor = Editor(backbone, projection=projection, settings=settings or EditSettings(seed=seed))
    near = practice_requests(split)
    superseded: set[str] = set()
    began = time.perf_counter()
    for start in range(0, len(split.tested), JOB):
        job = [r.request for r in split.tested[start : start + JOB]]
        version = editor.edit(job, near=near)
        superseded |= {o.id for o in version.outcomes if o.status == "superseded"}
        if progress is not None:
            progress("editing", min(start + JOB, len(split.tested)), len(split.tested))
    seconds = time.perf_counter() - began
    version = editor.version
    # An edit that could not be trained stays in the test, and fails it.
    asked = [r for r in split.tested if r.request.id not in superseded]
    active = [r for r in asked if r.request.id in version]
    probes = probes_for(asked, split, seed)
    figures = score(editor, asked, probes, progress)
    places = [version.place(r.request.id) for r in active]
    figures |= {
        "requests": len(split.tested),
        "superseded": len(superseded),
        "active": len(active),
        "route_invariance": route_invariance(editor, active, probes),
        "reload_identity": reload_identity(editor, active, probes),
        "revoke_identity": revoke_identity(editor, active, probes),
        "re_edit": re_edit(backbone, projection, editor, active),
        "edits_per_second": round(len(split.tested) / seconds, 3),
        "seconds": round(seconds, 2),
        "parameters_per_edit": float(np.mean([s.parameters_per_block for s, _ in places])),
        "curve": curve(editor, active, probes),
    }
    return figures


def bench_paper(
    backbone: Backbone, split: Split, seed: int, limit: int, progress: Progress | None
) -> dict[str, Any]:
    """MELO as published. Speed from the first `limit` edits, quality on the same."""
    tested = split.tested[:limit]
    editor = PaperEditor(backbone)
    began = time.perf_counter()
    editor.edit([r.request for r in tested], progress)
    seconds = time.perf_counter() - began
    probes = probes_for(tested, split, seed)
    targets = {r.request.id: backbone.canonical(r.request.target) for r in tested}
    own = editor.answer([r.request.prompt for r in tested])
    bare = Editor(backbone)
    return {
        "requests": len(tested),
        "edit_success": _mean(t == targets[r.request.id] for t, r in zip(own, tested, strict=True)),
        "generality": _mean(
            t == targets[i]
            for t, (_, i) in zip(
                editor.answer([p for p, _ in probes.rephrase]), probes.rephrase, strict=True
            )
        ),
        **{
            name: _mean(
                a == b.text
                for a, b in zip(
                    editor.answer(prompts), bare.answer(prompts, base=True), strict=True
                )
            )
            for name, prompts in _unchanged(probes).items()
        },
        "edits_per_second": round(len(tested) / seconds, 3),
        "seconds": round(seconds, 2),
    }


def score(
    editor: Editor, active: Sequence[Row], probes: Probes, progress: Progress | None = None
) -> dict[str, Any]:
    """Success, generality, and the share of texts that stayed the backbone's own."""
    backbone = editor.backbone
    targets = {r.request.id: backbone.canonical(r.request.target) for r in active}
    own = editor.answer([r.request.prompt for r in active])
    rephrased = editor.answer([p for p, _ in probes.rephrase])
    forced = editor.answer_with(
        [p for p, _ in probes.rephrase],
        [i if i in editor.version else None for _, i in probes.rephrase],
    )
    wanted = [targets[i] for _, i in probes.rephrase]
    figures: dict[str, Any] = {
        "edit_success": _mean(
            a.text == targets[r.request.id] for a, r in zip(own, active, strict=True)
        ),
        "generality": _mean(a.text == t for a, t in zip(rephrased, wanted, strict=True)),
        "oracle_generality": _mean(a == t for a, t in zip(forced, wanted, strict=True)),
    }
    for name, prompts in _unchanged(probes).items():
        after, before = editor.answer(prompts), editor.answer(prompts, base=True)
        figures[name] = _mean(a.text == b.text for a, b in zip(after, before, strict=True))
        figures[f"{name}_probes"] = len(prompts)
        if progress is not None:
            progress(f"scoring {name}", 1, 1)
    return figures


def route_invariance(editor: Editor, active: Sequence[Row], probes: Probes) -> dict[str, Any]:
    """Share of prompts with one route and text alone, padded left or right, and in any batch.

    Rows whose bare text changes with the batch are counted apart: there it is the backbone.
    """
    share = INVARIANCE_SAMPLE // 4
    prompts = [r.request.prompt for r in active[:share]]
    prompts += [p for part in _unchanged(probes).values() for p in part[:share]]
    prompts += [p for p, _ in probes.rephrase[:share]]
    long = "A stray sentence that is only here to make the batch much wider than it was. " * 2
    ways: list[list[tuple[str | None, str]]] = []
    bare: list[list[str]] = []
    for batch_size, side, extra in (
        (1, None, ""),
        (8, "right", long),
        (32, "left", long),
        (17, None, ""),
    ):
        asked = [*prompts, *([long] if extra else [])]
        options: dict[str, Any] = {
            "batch_size": batch_size,
            "padding_side": side,
            "sort": not extra,
        }
        found = editor.answer(asked, **options)[: len(prompts)]
        ways.append([(a.edit, a.text) for a in found])
        plain = editor.answer(asked, base=True, **options)[: len(prompts)]
        bare.append([a.text for a in plain])
    steady = [len({w[i] for w in bare}) == 1 for i in range(len(prompts))]
    routes = _mean(len({w[i][0] for w in ways}) == 1 for i in range(len(prompts)))
    same = _mean(len({w[i] for w in ways}) == 1 for i in range(len(prompts)) if steady[i])
    return {
        "value": min(routes, same),
        "routes": routes,
        "answers": same,
        "prompts": len(prompts),
        "backbone_unsteady": len(prompts) - sum(steady),
    }


def reload_identity(editor: Editor, active: Sequence[Row], probes: Probes) -> float:
    """Share of answers that are the same after saving and loading the version."""
    prompts = _sample(active, probes)
    before = [(a.text, a.edit) for a in editor.answer(prompts)]
    with tempfile.TemporaryDirectory() as folder:
        editor.save(Path(folder) / "version")
        again = Editor.load(editor.backbone, Path(folder) / "version")
        after = [(a.text, a.edit) for a in again.answer(prompts)]
        again.runtime.close()
    return _mean(a == b for a, b in zip(before, after, strict=True))


def revoke_identity(editor: Editor, active: Sequence[Row], probes: Probes) -> float:
    """Share of answers that are the backbone's own once every edit is revoked."""
    prompts = _sample(active, probes)
    kept = editor.version
    editor.revoke(list(kept.edits))
    after = [a.text for a in editor.answer(prompts)]
    editor.use(kept)
    base = [a.text for a in editor.answer(prompts, base=True)]
    return _mean(a == b for a, b in zip(after, base, strict=True))


def re_edit(
    backbone: Backbone, projection: KeyProjection, editor: Editor, active: Sequence[Row]
) -> float:
    """Prompts edited four times in turn, to A, B, C and A again: share that ends with A."""
    rows = active[:RE_EDITED]
    fresh = Editor(backbone, projection=projection, settings=editor.settings, reach=editor.reach)
    for turn in (0, 1, 2, 0):
        fresh.edit(
            [
                EditRequest(
                    r.request.prompt,
                    rows[(i + turn) % len(rows)].request.target,
                    r.request.subject,
                    id=f"{r.request.id}-{turn}-{len(fresh.version)}",
                )
                for i, r in enumerate(rows)
            ]
        )
    answers = fresh.answer([r.request.prompt for r in rows])
    fresh.runtime.close()
    return _mean(
        a.text == backbone.canonical(r.request.target) for a, r in zip(answers, rows, strict=True)
    )


def curve(editor: Editor, active: Sequence[Row], probes: Probes) -> list[dict[str, float]]:
    """Generality of routing against false activation on other relations, at every reach."""
    index = editor.version.index
    keys = {r.request.id: index[r.request.id].key for r in active}
    split = editor.reader.projection.relation_size

    def distances(pairs: list[tuple[str, str]]) -> np.ndarray:
        pairs = [p for p in pairs if p[1] in keys]
        if not pairs:
            return np.zeros(0)
        read = editor.reader.read([p for p, _ in pairs])
        own = np.stack([keys[i] for _, i in pairs])
        gaps: np.ndarray = np.linalg.norm(read[:, :split] - own[:, :split], axis=1)
        return gaps

    same, other = distances(probes.rephrase), distances(probes.near_relation)
    if not len(same) or not len(other):
        return []
    return [
        {
            "false_activation": share,
            "reach": float(np.quantile(other, share)),
            "generality": float((same <= np.quantile(other, share)).mean()),
        }
        for share in FALSE_ACTIVATIONS
    ]


def learned_projection(
    backbone: Backbone, split: Split, cache: Path, seed: int, progress: Progress | None
) -> KeyProjection:
    """The key projection for this backbone and these practice rows, cached by content."""
    practice = practice_requests(split)
    content = f"{backbone.weights_hash}|{seed}|{[r.id for r in practice]}|{Recipe()}"
    path = cache / f"projection-{hashlib.sha256(content.encode()).hexdigest()[:16]}.safetensors"
    if path.is_file():
        return KeyProjection.from_bytes(path.read_bytes())
    reader = Editor(backbone).reader
    projection = learn_projection(reader, practice, Recipe(seed=seed), progress)
    reader.runtime.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    projection.save(path)
    return projection


def _prepare(split: Split, cache: Path, seed: int, progress: Progress | None) -> Path:
    from tasks.backbone import pairs_from_rows, prepare_backbone

    pairs = pairs_from_rows([r.raw for r in split.tested])
    digest = hashlib.sha256(repr((pairs, seed)).encode()).hexdigest()[:16]
    shown: Any = None
    if progress is not None:

        def shown(text: str, share: float) -> None:
            progress("preparing the backbone", round(100 * share), 100)

    return prepare_backbone(pairs, cache / f"backbone-{digest}", seed=seed, progress=shown)


def _unchanged(probes: Probes) -> dict[str, list[str]]:
    return {
        "locality": [p for p, _ in probes.locality],
        "near_miss_subject": [p for p, _ in probes.near_subject],
        "near_miss_relation": [p for p, _ in probes.near_relation],
    }


def _sample(active: Sequence[Row], probes: Probes) -> list[str]:
    prompts = [r.request.prompt for r in active] + [p for p, _ in probes.rephrase]
    return prompts + [p for part in _unchanged(probes).values() for p in part]


def _mean(flags: Any) -> float:
    values = [bool(f) for f in flags]
    return round(float(np.mean(values)), 4) if values else float("nan")
