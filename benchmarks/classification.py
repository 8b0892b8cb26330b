"""A classifier's own mistakes as edits (AG News): how many are put right, and what stays right.

    rows ─ halves ─► seen    ─► trains the classifier; what it gets right there bounds the radii
                     unseen  ─► asked once: the mistakes are the edits, the rest is the test

MiniLM with a head, as `tasks.backbone.prepare_classifier` makes it; any other with --backbone, whose
labels must be the file's. Which texts it has not seen is told by the same halves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines import Asked, Melo, Method, refuse_unfit
from benchmarks.checkpoints import Figures
from benchmarks.engine import product_settings
from benchmarks.errors import DataError
from benchmarks.protocol import Row, plain_rows
from benchmarks.scoring import mean
from benchmarks.sequence import Options, run_baselines, run_melo
from melo_engine import Backbone, EditRequest
from melo_engine.encoders import default_encoder
from melo_engine.errors import MeloError
from melo_engine.keys import KeyReader

MEASURED = ("corrected", "kept", "accuracy_after")
LOCALITY = 4  # texts of the seen half, nearest to an edit's, that its radius must leave outside
SEEN = 2000  # of them looked at
SAMPLE = 300  # texts that were right, asked at the marks before the final state


def run(rows: Sequence[dict[str, Any]], seed: int, options: Options) -> dict[str, Any]:
    """All chosen methods on one seed. With a limit, the first `limit` mistakes are edited."""
    from tasks.backbone import halves

    backbone = Backbone.open(
        options.backbone or _prepared(rows, options), "sequence-classification"
    )
    refuse_unfit(options.methods, backbone)
    seen, unseen = (
        [r for r in plain_rows([{"prompt": p, "target": t} for p, t in half]) if _fits(backbone, r)]
        for half in halves(rows)
    )
    if not unseen:
        raise DataError("no row of the unseen half has a text and a label that the backbone knows.")
    bare = Method(backbone)
    options.progress("asking the classifier", 0, 1)
    predictions = bare.answer(Asked.of([r.request.question for r in unseen]))
    options.progress("asking the classifier", 1, 1)
    wrong = [r for r, t in zip(unseen, predictions, strict=True) if t != r.request.target]
    right = [r for r, t in zip(unseen, predictions, strict=True) if t == r.request.target]
    edited = _in_order(wrong, seed)[: options.limit]
    if not edited:
        raise DataError("the classifier makes no mistake on the unseen half; nothing to edit.")

    final = {options.most(name, len(edited)) for name in options.methods}

    def scored(method: Method, count: int) -> dict[str, Any]:
        done = edited[:count]
        owners = [r.request.id for r in done]
        answers = method.answer(Asked.of([r.request.question for r in done], owners))
        stayed = right if count in final else right[:SAMPLE]
        stayed_answers = method.answer(Asked.of([r.request.question for r in stayed]))
        corrected = mean(a == r.request.target for a, r in zip(answers, done, strict=True))
        held = mean(a == r.request.target for a, r in zip(stayed_answers, stayed, strict=True))
        after = (corrected * count + held * len(right)) / (count + len(right))
        return {"corrected": corrected, "kept": held, "accuracy_after": round(after, 4)}

    figures: dict[str, Any] = {
        "rows": {
            "seen": len(seen),
            "right": len(right),
            "wrong": len(wrong),
            "tested": len(edited),
        },
        "accuracy_before": round(len(right) / (len(right) + len(wrong)), 4),
        "backbone": backbone.name,
        "device": str(backbone.device),
    }
    requests = [r.request for r in edited]

    def with_melo() -> Figures:
        sample = _in_order(seen, seed)[:SEEN]
        bounded = with_locality(backbone, requests, [r.request.question for r in sample])
        settings = options.settings or product_settings(seed)
        melo, scores = run_melo(lambda: Melo(backbone, settings=settings), bounded, scored, options)
        melo.close()
        return scores

    if "melo" in options.methods:
        figures |= options.finished(seed, options.own, with_melo)
    return figures | run_baselines(backbone, requests, scored, seed, options)


def with_locality(
    backbone: Backbone, requests: Sequence[EditRequest], texts: Sequence[str]
) -> list[EditRequest]:
    """Each request with the texts nearest to its own as locality probes: they bound its radius."""
    if not texts:
        return list(requests)
    reader = KeyReader(default_encoder(backbone))
    text_keys = reader.read(list(texts))[:, reader.projection.relation_size :]  # (N, H)
    request_keys = reader.read([r.question for r in requests])[:, reader.projection.relation_size :]
    # Keys are unit vectors, so the largest products are the nearest.
    near = np.argsort(-(request_keys @ text_keys.T), axis=1)[:, :LOCALITY]
    return [
        replace(r, locality=tuple(texts[i] for i in rows))
        for r, rows in zip(requests, near, strict=True)
    ]


def _in_order(rows: Sequence[Row], seed: int) -> list[Row]:
    """Shuffled by the seed and each text alone."""
    return sorted(
        rows, key=lambda r: hashlib.sha256(f"{seed}|{r.request.question}".encode()).digest()
    )


def _fits(backbone: Backbone, row: Row) -> bool:
    try:
        backbone.encode([row.request.question])
        backbone.label(row.request.target)
    except MeloError:
        return False
    return True


def _prepared(rows: Sequence[dict[str, Any]], options: Options) -> Path:
    from tasks.backbone import prepare_classifier

    content = repr([(r["prompt"], r["target"]) for r in rows])
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]

    def shown(text: str, share: float) -> None:
        options.progress("preparing the classifier", round(100 * share), 100)

    return prepare_classifier(rows, options.cache / f"classifier-{digest}", progress=shown)
