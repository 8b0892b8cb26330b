"""Hallucinated biographies (WikiBio, SelfCheckGPT): perplexity of what is edited and what is kept.

    passage  "S1. S2 (wrong). S3. S4 (wrong)."          what the backbone has learned
    edits    "S1." -> right S2      "S1. S2. S3." -> right S4
    accurate "" -> S1   "S1. S2." -> S3                 prompts of no edit: must stay as sure
    web      text of other kinds                        likewise

Perplexity is that of the given continuation after its prompt, own tokens forced, over all tokens of
all texts; the prompt alone is routed. GRACE (Hartvigsen et al. 2023), section 4: edits (ES), web text
(TRR) and accurate sentences (ARR). No two rows contradict each other here, so an edit that a method
drops counts as a failure.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.baselines import Asked, Loss, Melo, Method, refuse_unfit
from benchmarks.checkpoints import Figures
from benchmarks.engine import product_settings
from benchmarks.errors import DataError
from benchmarks.gpt import prepare_gpt
from benchmarks.protocol import Row, plain_rows
from benchmarks.scoring import mean
from benchmarks.sequence import Options, run_baselines, run_melo
from melo_engine import Backbone, metrics
from melo_engine.errors import MeloError

MEASURED = ("edit_perplexity", "web_ratio", "accurate_ratio")
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[\"'(A-Z])")

WORDS_A_LINE = 30

Pair = tuple[str, str]


def run(rows: Sequence[dict[str, Any]], seed: int, options: Options) -> dict[str, Any]:
    """All chosen methods on one seed."""
    rows = rows[: options.limit]
    backbone = Backbone.open(options.backbone or _prepared(rows, options), "causal-lm")
    refuse_unfit(options.methods, backbone)
    tested = [r for r in plain_rows(rows) if _fits(backbone, _edit(r))]
    if not tested:
        raise DataError("no row fits the backbone's context; name another with --backbone.")
    web = [p for p in _web(rows) if _fits(backbone, p)]
    accurate = [p for p in accurate_pairs(rows) if _fits(backbone, p)]
    bare = Method(backbone)
    before = {
        "web": _losses(bare, web, end=False),
        "accurate": _losses(bare, accurate, end=False),
    }

    def scored(method: Method, count: int) -> dict[str, Any]:
        return _score(method, tested[:count], web, accurate, before)

    figures: dict[str, Any] = {
        "rows": {"tested": len(tested), "web": len(web), "accurate": len(accurate)},
        "left_out": len(rows) - len(tested),
        "backbone": backbone.name,
        "device": str(backbone.device),
        "before": {
            "edit_perplexity": _perplexity(_losses(bare, [_edit(r) for r in tested])),
            **{f"{k}_perplexity": _perplexity(v) for k, v in before.items()},
        },
    }
    requests = [r.request for r in tested]

    def with_melo() -> Figures:
        settings = options.settings or product_settings(seed)
        melo, scores = run_melo(
            lambda: Melo(backbone, settings=settings), requests, scored, options
        )
        melo.close()
        return scores

    if "melo" in options.methods:
        figures |= options.finished(seed, options.own, with_melo)
    return figures | run_baselines(backbone, requests, scored, seed, options)


def accurate_pairs(rows: Sequence[dict[str, Any]]) -> list[Pair]:
    """(passage so far, next sentence) wherever no row has something to correct."""
    pairs = []
    for passage, edited in _passages(rows).values():
        cuts = [(m.start(), m.end()) for m in _BETWEEN_SENTENCES.finditer(passage)]
        ends = [*(start for start, _ in cuts[1:]), len(passage)][: len(cuts)]
        for (start, after), end in zip(cuts, ends, strict=True):
            before, sentence = passage[:start], passage[after:end]
            if before.strip() not in edited:
                pairs.append((before, sentence))
    return pairs


def _passages(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[str, set[str]]]:
    """By subject: the longest passage, and the places (passages so far) that rows correct."""
    by_subject: defaultdict[str, list[str]] = defaultdict(list)
    for number, row in enumerate(rows):
        by_subject[str(row.get("subject") or number)].append(row["prompt"])
    return {
        subject: (max(prompts, key=len).strip(), {p.strip() for p in prompts})
        for subject, prompts in by_subject.items()
    }


def _web(rows: Sequence[dict[str, Any]]) -> list[Pair]:
    probes = [p for row in rows for p in row.get("locality") or ()]
    return list(dict.fromkeys((str(p["prompt"]), str(p["answer"])) for p in probes))


def _edit(row: Row) -> Pair:
    return row.request.question, row.request.target


def _score(
    method: Method,
    rows: Sequence[Row],
    web: Sequence[Pair],
    accurate: Sequence[Pair],
    before: dict[str, list[Loss]],
) -> dict[str, Any]:
    owners = [r.request.id for r in rows]
    edits = _losses(method, [_edit(r) for r in rows], owners)
    texts = method.answer(Asked.of([r.request.question for r in rows], owners))
    wanted = [method.backbone.canonical(r.request.target) for r in rows]
    figures = {
        "edit_perplexity": _perplexity(edits),
        "edit_success": mean(t == w for t, w in zip(texts, wanted, strict=True)),
    }
    for name, pairs in (("web", web), ("accurate", accurate)):
        after = _losses(method, pairs, end=False)
        figures[f"{name}_perplexity"] = _perplexity(after)
        figures[f"{name}_ratio"] = _retention(after, before[name])["perplexity_ratio"]
        figures[f"{name}_unchanged"] = mean(
            abs(a.nats - b.nats) <= 1e-3 for a, b in zip(after, before[name], strict=True)
        )
    return figures


def _losses(
    method: Method, pairs: Sequence[Pair], owners: Sequence[str | None] = (), *, end: bool = True
) -> list[Loss]:
    return method.losses(Asked.of([p for p, _ in pairs], owners), [t for _, t in pairs], end=end)


def _perplexity(losses: Sequence[Loss]) -> float:
    return _retention(losses)["accurate_retention_perplexity"]


def _retention(losses: Sequence[Loss], before: Sequence[Loss] | None = None) -> dict[str, float]:
    """The engine's own metric over these losses."""
    figures: dict[str, float] = metrics.load("accurate_retention_perplexity").compute(
        predictions=[x.nats for x in losses],
        references=[x.tokens for x in losses],
        **({"backbone": [x.nats for x in before]} if before is not None else {}),
    )
    return {k: round(v, 5) for k, v in figures.items()}


def _fits(backbone: Backbone, pair: Pair) -> bool:
    """Whether prompt and continuation fit the backbone."""
    try:
        backbone.encode([pair[0]])
        backbone.encode_target(pair[1])
    except MeloError:
        return False
    return True


def word_list(targets: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The targets' words that no text has, in the order of the alphabet, `WORDS_A_LINE` a text.

    A token that a model trained from nothing never saw can't be told from others like it.
    """
    text_words = {word for text in texts for word in text.split()}
    new = sorted({word for target in targets for word in target.split()} - text_words)
    lines = [new[i : i + WORDS_A_LINE] for i in range(0, len(new), WORDS_A_LINE)]
    return [f" {' '.join(line)}" for line in lines]


def _prepared(rows: Sequence[dict[str, Any]], options: Options) -> Path:
    """The small GPT of these rows; cached by content."""
    texts = [passage for passage, _ in _passages(rows).values()]
    texts += [prompt + answer for prompt, answer in _web(rows)]
    texts += word_list([row["target"] for row in rows], texts)
    digest = hashlib.sha256(repr(texts).encode()).hexdigest()[:16]
    return prepare_gpt(texts, options.cache / f"gpt-{digest}", progress=options.progress)
