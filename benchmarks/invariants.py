"""What must hold of this engine's final state whatever its quality: routes, reloading, undoing.

Also the whole curve of generality against false activation, of which the calibrated radius is a point.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.protocol import Probes, Row
from benchmarks.scoring import UNCHANGED, mean
from melo_engine import Editor, EditRequest
from melo_engine.matching.names import name_in

INVARIANCE_SAMPLE = 100
TEXTS = 40  # compared as texts; routes are compared of all
TOKENS = 12  # of each
RE_EDITED = 40
FALSE_ACTIVATIONS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)


def route_invariance(editor: Editor, active: Sequence[Row], probes: Probes) -> dict[str, Any]:
    """Share of prompts with one route and text alone, padded left or right, and in any batch.

    A decoder alone writes behind the last place of its row and is only padded on the left. Rows whose
    bare text changes with the batch are counted apart: there it is the backbone.
    """
    share = INVARIANCE_SAMPLE // 4
    prompts = [r.request.question for r in active[:share]]
    prompts += [p for part in _unchanged(probes) for p in part[:share]]
    prompts += [p for p, _ in probes.rephrase[:share]]
    long = "A stray sentence that is only here to make the batch much wider than it was. " * 2
    sides = ("left", "left") if editor.backbone.task == "causal-lm" else ("right", "left")
    ways: list[list[tuple[str | None, str]]] = []
    bare: list[list[str]] = []
    for batch_size, side, extra in (
        (1, None, ""),
        (8, sides[0], long),
        (32, sides[1], long),
        (17, None, ""),
    ):
        batch = [*prompts, *([long] if extra else [])]
        options: dict[str, Any] = {
            "batch_size": batch_size,
            "padding_side": side,
            "sort": not extra,
            **_answer_options(editor),
        }
        answers = editor.answer(batch, **options)[: len(prompts)]
        ways.append([(a.edit, a.text) for a in answers])
        plain = editor.answer(batch, base=True, **options)[: len(prompts)]
        bare.append([a.text for a in plain])
    steady = [len({w[i] for w in bare}) == 1 for i in range(len(prompts))]
    routes = mean(len({w[i][0] for w in ways}) == 1 for i in range(len(prompts)))
    same = mean(len({w[i] for w in ways}) == 1 for i in range(len(prompts)) if steady[i])
    return {
        "value": min(routes, same),
        "routes": routes,
        "answers": same,
        "prompts": len(prompts),
        "backbone_unsteady": len(prompts) - sum(steady),
    }


def reload_identity(editor: Editor, active: Sequence[Row], probes: Probes) -> float:
    """Share of prompts with the same route, and of a sample the same text, after saving and loading."""
    prompts = _sample(active, probes)
    with tempfile.TemporaryDirectory() as folder:
        editor.save(Path(folder) / "version")
        saved = Editor.load(editor.backbone, Path(folder) / "version")
        return mean(
            a == b for a, b in zip(_answers(editor, prompts), _answers(saved, prompts), strict=True)
        )


def revoke_identity(editor: Editor, active: Sequence[Row], probes: Probes) -> float:
    """Share of prompts that reach no edit once all are revoked; a sample is compared by its text."""
    prompts = _sample(active, probes)
    version = editor.version
    editor.revoke(list(version.edits))
    after = _answers(editor, prompts)
    editor.use(version)
    base = [a.text for a in editor.answer(prompts[:TEXTS], base=True, **_answer_options(editor))]
    wanted = [(None, text) for text in base] + [(None, "")] * (len(prompts) - len(base))
    return mean(a == b for a, b in zip(after, wanted, strict=True))


def revocations(
    editor: Editor, active: Sequence[Row], probes: Probes, count: int, seed: int
) -> dict[str, Any]:
    """Revoke edits one by one, in random order, and compare with an index that never had them.

    count: edits to revoke; never more than two thirds, so that some are left. The other index is built
    of those alone. `identical` is the share of all prompts with the same route, and of a sample the
    same text; `kept` the share of the edits left that answer as before the revocations; `as_backbone`
    the share of the revoked whose own question goes to the backbone again, or to another edit.
    """
    before = editor.version
    drawn = random.Random(seed).sample(sorted(before.edits), min(count, 2 * len(before) // 3))
    for edit in drawn:
        editor.revoke([edit])
    left = editor.version
    fresh = _without_edits(editor)
    fresh.use(
        fresh.version.with_edits([before[e] for e in left.edits], list(before.shards.values()))
    )
    prompts = _sample(active, probes)
    same = mean(
        a == b for a, b in zip(_answers(editor, prompts), _answers(fresh, prompts), strict=True)
    )
    held = [r.request.question for r in active if r.request.id in left]
    gone = [r.request.question for r in active if r.request.id in set(drawn)]
    after = [r.edit for r in editor.routes(held)]
    none = [r.edit not in set(drawn) for r in editor.routes(gone)]
    editor.use(before)
    return {
        "revoked": len(drawn),
        "left": len(left),
        "identical": same,
        "same_content": left.id == fresh.version.id,
        "kept": mean(a == r.edit for a, r in zip(after, editor.routes(held), strict=True)),
        "as_backbone": mean(none),
    }


def _answers(editor: Editor, prompts: Sequence[str]) -> list[tuple[str | None, str]]:
    """The edit that each prompt is routed to, and the text for the first ones."""
    texts = [a.text for a in editor.answer(prompts[:TEXTS], **_answer_options(editor))]
    texts += [""] * (len(prompts) - len(texts))
    return [(r.edit, t) for r, t in zip(editor.routes(prompts), texts, strict=True)]


def _answer_options(editor: Editor) -> dict[str, Any]:
    return {"max_new_tokens": TOKENS} if editor.backbone.generates else {}


def _without_edits(editor: Editor) -> Editor:
    """Another editor like it, before its first edit."""
    return Editor(
        editor.backbone,
        reader=editor.reader,
        settings=editor.settings,
        calibration=editor.calibration(),
    )


def re_edit(editor: Editor, active: Sequence[Row]) -> float:
    """Prompts edited four times in turn, to A, B, C and A again: share that ends with A."""
    rows = active[:RE_EDITED]
    fresh = _without_edits(editor)
    for number, turn in enumerate((0, 1, 2, 0)):
        fresh.edit(
            [
                EditRequest(
                    r.request.question,
                    rows[(i + turn) % len(rows)].request.target,
                    r.request.subject,
                    id=f"{r.request.id}-{number}",
                )
                for i, r in enumerate(rows)
            ],
            replaces=list(fresh.version.edits),
        )
    answers = fresh.answer([r.request.question for r in rows], max_new_tokens=64)
    return mean(
        a.text == editor.backbone.canonical(r.request.target)
        for a, r in zip(answers, rows, strict=True)
    )


def curve(editor: Editor, active: Sequence[Row], probes: Probes) -> list[dict[str, float]]:
    """Generality of routing against false activation on other relations, at each radius."""
    version = editor.version
    keys = {r.request.id: version.member(r.request.id).key for r in active}
    split = editor.reader.projection.relation_size

    def distances(pairs: list[tuple[str, str]]) -> np.ndarray:
        pairs = [p for p in pairs if p[1] in keys]
        if not pairs:
            return np.zeros(0)
        names = [name_in(p, version[i].request.names) for p, i in pairs]
        read = editor.reader.read([p for p, _ in pairs], names)
        edit_keys = np.stack([keys[i] for _, i in pairs])
        return editor.reader.projection.distances(edit_keys[:, :split], read[:, :split])

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


def _unchanged(probes: Probes) -> list[list[str]]:
    return [[p for p, _ in getattr(probes, part)] for part in UNCHANGED.values()]


def _sample(active: Sequence[Row], probes: Probes) -> list[str]:
    prompts = [r.request.question for r in active] + [p for p, _ in probes.rephrase]
    return prompts + [p for part in _unchanged(probes) for p in part]
