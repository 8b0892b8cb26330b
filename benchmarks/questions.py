"""Questions with short answers (zsRE, CounterFact, QAEdit): the five figures of the final state.

rows ─ split ─► tested  ─ jobs ─► method ─► every probe decoded freely
                unseen  ──────────────────► near-misses
                practice ─ key projection
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import invariants
from benchmarks.baselines import Asked, Melo, Method, Oracle, refuse_unfit
from benchmarks.protocol import Probes, Row, Split, practice_requests, probes_for, split_rows
from benchmarks.scoring import BareAnswers, mean, score
from benchmarks.sequence import Options, Progress, run_baselines, run_melo
from melo_engine import Backbone, Editor, EditRequest, EditSettings
from melo_engine.contrast import Recipe, learn_projection
from melo_engine.projection import SCHEME, KeyProjection


def run(rows: Sequence[dict[str, Any]], seed: int, options: Options) -> dict[str, Any]:
    """All chosen methods on one seed: figures by method, and what was edited."""
    split = split_rows(rows, options.limit, seed, options.others)
    path = options.backbone or prepared(rows[: options.limit], options.cache, options.progress)
    backbone = Backbone.open(path)
    refuse_unfit(options.methods, backbone)
    bare = BareAnswers(Method(backbone))
    superseded: dict[int, set[str]] = {}  # by how many requests had been made

    def scored(method: Method, count: int) -> dict[str, Any]:
        if isinstance(method, Melo):
            superseded[count] = set(method.superseded)
        gone = superseded.get(count, set())
        asked = [r for r in split.tested[:count] if r.request.id not in gone]
        probes = probes_for(asked, split, seed)
        found = score(method, asked, probes, bare, backbone.canonical)
        if isinstance(method, Melo):
            found["oracle_generality"] = told_generality(method, asked, probes)
        return found

    figures: dict[str, Any] = {
        "rows": {k: len(getattr(split, k)) for k in ("tested", "unseen", "practice")},
        "backbone": backbone.name,
        "device": str(backbone.device),
    }
    requests = [r.request for r in split.tested]
    if "melo" in options.methods:
        near = practice_requests(split)
        projection = learned_projection(backbone, near, options.cache, seed, options.progress)
        settings = options.settings or EditSettings(seed=seed)
        melo, found = run_melo(
            lambda: Melo(backbone, projection=projection, settings=settings, near=near),
            requests,
            scored,
            options,
        )
        found["melo"] |= _state(melo, projection, split, seed, options)
        melo.close()
        figures |= found
    return figures | run_baselines(backbone, requests, scored, seed, options)


def told_generality(melo: Melo, rows: Sequence[Row], probes: Probes) -> float:
    """Generality with the right block forced: what is lost beyond it is lost in routing."""
    targets = {r.request.id: melo.backbone.canonical(r.request.target) for r in rows}
    asked = Asked.of([p for p, _ in probes.rephrase], [i for _, i in probes.rephrase])
    texts = Oracle(melo).answer(asked)
    return mean(t == targets[str(i)] for t, i in zip(texts, asked.owners, strict=True))


def _state(
    melo: Melo, projection: KeyProjection, split: Split, seed: int, options: Options
) -> dict[str, Any]:
    """What must hold of the final state, and its curve."""
    editor, version = melo.editor, melo.editor.version
    active = [r for r in split.tested if r.request.id in version]
    asked = [r for r in split.tested if r.request.id not in melo.superseded]
    probes = probes_for(asked, split, seed)
    options.say("checking what must hold", 0, 5)
    figures: dict[str, Any] = {
        "parameters_per_edit": float(
            np.mean([version.place(r.request.id)[0].parameters_per_block for r in active])
        ),
        "route_invariance": invariants.route_invariance(editor, active, probes),
    }
    options.say("checking what must hold", 2, 5)
    figures["reload_identity"] = invariants.reload_identity(editor, active, probes)
    figures["revoke_identity"] = invariants.revoke_identity(editor, active, probes)
    options.say("checking what must hold", 4, 5)
    figures["re_edit"] = invariants.re_edit(editor.backbone, projection, editor, active)
    figures["curve"] = invariants.curve(editor, active, probes)
    options.say("checking what must hold", 5, 5)
    return figures


def learned_projection(
    backbone: Backbone,
    practice: Sequence[EditRequest],
    cache: Path,
    seed: int,
    progress: Progress | None,
) -> KeyProjection:
    """The key projection for this backbone and these practice rows, cached by content."""
    content = f"{SCHEME}|{backbone.weights_hash}|{seed}|{[r.id for r in practice]}|{Recipe()}"
    path = cache / f"projection-{hashlib.sha256(content.encode()).hexdigest()[:16]}.safetensors"
    if path.is_file():
        return KeyProjection.from_bytes(path.read_bytes())
    reader = Editor(backbone).reader
    projection = learn_projection(reader, practice, Recipe(seed=seed), progress)
    reader.runtime.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    projection.save(path)
    return projection


def prepared(rows: Sequence[dict[str, Any]], cache: Path, progress: Progress | None) -> Path:
    """The demo's kind of backbone, which believes something else about each row; cached."""
    from tasks.backbone import pairs_from_rows, prepare_backbone

    pairs = pairs_from_rows(rows)
    digest = hashlib.sha256(repr(pairs).encode()).hexdigest()[:16]

    def shown(text: str, share: float) -> None:
        if progress is not None:
            progress("preparing the backbone", round(100 * share), 100)

    return prepare_backbone(pairs, cache / f"backbone-{digest}", progress=shown)
