"""Questions with short answers (zsRE, CounterFact, QAEdit): the five figures of the final state.

rows ─ split ─► tested  ─ jobs ─► method ─► every probe decoded freely
                unseen  ──────────────────► near-misses
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import invariants
from benchmarks.baselines import Asked, Melo, Method, Oracle, refuse_unfit
from benchmarks.checkpoints import Figures
from benchmarks.engine import Keys, product_keys, product_settings
from benchmarks.progress import Report
from benchmarks.protocol import Probes, Row, Split, plain_rows, probes_for, split_rows
from benchmarks.scoring import BareAnswers, mean, score
from benchmarks.sequence import Options, run_baselines, run_melo
from melo_engine import Backbone
from melo_engine.calibrate import calibrate
from melo_engine.contrast import LearningRecipe, learn_projection
from melo_engine.encoders import default_encoder
from melo_engine.keys import KeyReader

OUT_OF_TEST = "out_of_test"  # ids of edits that a later one contradicts
BASELINE_PROBES = (
    100  # of each kind that must stay as it is, asked of methods that act on all prompts
)


def run(rows: Sequence[dict[str, Any]], seed: int, options: Options) -> dict[str, Any]:
    """All chosen methods on one seed: figures by method, and what was edited."""
    split = split_rows(rows, options.limit, seed, options.practice)
    path = options.backbone or prepared(rows[: options.limit], options.cache, options.progress)
    backbone = Backbone.open(path)
    refuse_unfit(options.methods, backbone)
    bare = BareAnswers(Method(backbone))
    superseded: dict[int, set[str]] = {}  # by how many requests had been made

    def scored(method: Method, count: int) -> dict[str, Any]:
        if isinstance(method, Melo):
            superseded[count] = set(method.superseded)
        gone = superseded.get(count, set())
        rows = [r for r in split.tested[:count] if r.request.id not in gone]
        probes = probes_for(rows, split, seed)
        routes = isinstance(method, Melo | Oracle)
        traffic = options.traffic if routes else options.traffic[:BASELINE_PROBES]
        probes = probes if routes else _fewer(probes, seed)
        scores = score(
            method, rows, probes, bare, backbone.canonical, traffic, options.progress, framed=routes
        )
        if isinstance(method, Melo):
            scores[OUT_OF_TEST] = sorted(gone)
            scores["oracle_generality"] = oracle_generality(method, rows, probes)
        return scores

    figures: dict[str, Any] = {
        "rows": {k: len(getattr(split, k)) for k in ("tested", "unseen", "left_out")},
        "backbone": backbone.name,
        "device": str(backbone.device),
    }
    requests = [r.request for r in split.tested]
    if options.no_subject:
        requests = [replace(r, subject=None) for r in requests]

    def with_melo() -> Figures:
        keys = learned_keys(backbone, options, seed)
        settings = options.settings or product_settings(seed)
        melo, results = run_melo(
            lambda: Melo(
                backbone,
                reader=keys.reader,
                calibration=keys.calibration,
                tagger=keys.tagger,
                settings=settings,
            ),
            requests,
            scored,
            options,
        )
        results["melo"] |= _final_state(melo, split, seed, options)
        melo.close()
        return results

    if "melo" in options.methods:
        figures |= options.finished(seed, options.own, with_melo)
        superseded |= out_of_test(figures["melo"])
    return figures | run_baselines(backbone, requests, scored, seed, options)


def out_of_test(figures: dict[str, Any]) -> dict[int, set[str]]:
    """Take the ids of superseded edits out of `melo`'s figures: by how many requests had been made."""
    superseded = {int(mark): set(at.pop(OUT_OF_TEST, ())) for mark, at in figures["at"].items()}
    figures.pop(OUT_OF_TEST, None)
    return superseded


def _fewer(probes: Probes, seed: int) -> Probes:
    """The same for every method: a random part of the prompts whose answers must not change."""
    drawn = random.Random(seed)

    def part(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return drawn.sample(pairs, min(BASELINE_PROBES, len(pairs)))

    return replace(
        probes,
        locality=part(probes.locality),
        near_subject=part(probes.near_subject),
        near_relation=part(probes.near_relation),
    )


def oracle_generality(melo: Melo, rows: Sequence[Row], probes: Probes) -> float:
    """Generality with the right block forced: what is lost beyond it is lost in routing."""
    targets = {r.request.id: melo.backbone.canonical(r.request.target) for r in rows}
    rephrases = Asked.of([p for p, _ in probes.rephrase], [i for _, i in probes.rephrase])
    texts = Oracle(melo).answer(rephrases)
    return mean(t == targets[str(i)] for t, i in zip(texts, rephrases.owners, strict=True))


def _final_state(melo: Melo, split: Split, seed: int, options: Options) -> dict[str, Any]:
    """Invariants of the final state, and the curve of its routing."""
    editor, version = melo.editor, melo.editor.version
    active = [r for r in split.tested if r.request.id in version]
    tested = [r for r in split.tested if r.request.id not in melo.superseded]
    probes = probes_for(tested, split, seed)
    options.progress("checking what must hold", 0, 5)
    figures: dict[str, Any] = {
        "parameters_per_edit": float(
            np.mean([version.place(r.request.id)[0].parameters_per_block for r in active])
        ),
        "route_invariance": invariants.route_invariance(editor, active, probes),
    }
    options.progress("checking what must hold", 2, 5)
    figures["reload_identity"] = invariants.reload_identity(editor, active, probes)
    figures["revoke_identity"] = invariants.revoke_identity(editor, active, probes)
    options.progress("checking what must hold", 3, 5)
    figures["revocations"] = invariants.revocations(
        editor, active, probes, options.revocations, seed
    )
    options.progress("checking what must hold", 4, 5)
    figures["re_edit"] = invariants.re_edit(editor, active)
    figures["curve"] = invariants.curve(editor, active, probes)
    options.progress("checking what must hold", 5, 5)
    return figures


def learned_keys(backbone: Backbone, options: Options, seed: int) -> Keys:
    """The product's keys; with `--practice` a projection that learned from that file's rows as well."""
    if not options.practice:
        return product_keys(backbone, options.cache)
    practice = [r.request for r in plain_rows(options.practice)]
    rephrases = [r.rephrases for r in plain_rows(options.practice)]
    practice = [replace(r, rephrases=more) for r, more in zip(practice, rephrases, strict=True)]
    encoder = default_encoder(backbone)
    projection = learn_projection(
        KeyReader(encoder), practice, LearningRecipe(seed=seed), options.progress
    )
    share = (options.settings or product_settings(seed)).false_activations
    reader = KeyReader(encoder, projection)
    tagger = product_keys(backbone, options.cache).tagger
    return Keys(reader, calibrate(reader, share), tagger)


def prepared(rows: Sequence[dict[str, Any]], cache: Path, progress: Report) -> Path:
    """The demo's kind of backbone, which believes something else about each row; cached."""
    from tasks.backbone import pairs_from_rows, prepare_backbone

    pairs = pairs_from_rows(rows)
    digest = hashlib.sha256(repr(pairs).encode()).hexdigest()[:16]

    def shown(text: str, share: float) -> None:
        progress("preparing the backbone", round(100 * share), 100)

    return prepare_backbone(pairs, cache / f"backbone-{digest}", progress=shown)
