"""`melo bench matching`: what each rule on strings is worth, by what is routed without it.

    rows ─► keys and radii of their questions, as the product makes them ─► an index for each choice
    rephrases, near-misses, locality, traffic ─► the edit that each falls to

Each rule is left out once. It earns its place where more rephrases fall to an edit about their subject
with it than without, and pays for that in other prompts that fall to any edit. No block is trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine import product_editor
from benchmarks.progress import Report, silent
from benchmarks.protocol import Probes, Row, probes_for, read_rows, split_rows
from melo_engine import Backbone, Editor
from melo_engine.calibrate import question_for, radii
from melo_engine.index import Member, NeuronIndex
from melo_engine.keys import KeyReader
from melo_engine.matching import SubjectMatcher, name_in
from melo_engine.matching.matcher import RULES

ALL = "all rules"


def bench(
    data: Path,
    backbone: str,
    cache: Path,
    *,
    first: int = 0,
    limit: int = 300,
    traffic: Sequence[str] = (),
    progress: Report = silent,
) -> dict[str, Any]:
    """Figures by what was left out: `found` of the rephrases, `caught` of each other kind of prompt.

    first: rows passed over. traffic: prompts that no edit is about.
    """
    split = split_rows(read_rows(data)[first:], limit)
    latest = {row.request.question: row for row in split.tested}  # a later one takes its place
    probes = probes_for(list(latest.values()), split)
    editor = product_editor(Backbone.open(backbone), cache)
    reader, members = editor.reader, _members(editor, list(latest.values()))
    figures: dict[str, Any] = {
        "data": data.name,
        "first": first,
        "limit": limit,
        "edits": len(members),
        "probes": {kind: len(prompts) for kind, prompts in _prompts(probes, traffic).items()},
        "without": {},
    }
    choices = [ALL, *sorted(RULES)]
    for done, left_out in enumerate(choices):
        progress("routing without a rule", done, len(choices))
        index = NeuronIndex(
            reader.projection.size,
            reader.projection.relation_size,
            members,
            SubjectMatcher(RULES - {left_out}),
            reader.projection.distances,
        )
        figures["without"][left_out] = _routed(index, reader, probes, traffic)
    return figures


def _members(editor: Editor, rows: Sequence[Row]) -> list[Member]:
    """The keys of the rows' own questions, with the radii that the editor would give them."""
    requests = [row.request for row in rows]
    names = [name_in(r.question, r.names) for r in requests]
    keys = editor.reader.read([r.question for r in requests], names)
    continues = editor.backbone.task == "causal-lm" and not editor.backbone.is_chat
    own_radii = radii(requests, keys, editor.calibration(), editor.reader, continues)
    return [
        Member(r.id, key, own, r.names, order, content, question_for(r) if by_question else None)
        for order, (r, key, (own, content, by_question)) in enumerate(
            zip(requests, keys, own_radii, strict=True)
        )
    ]


def _prompts(probes: Probes, traffic: Sequence[str]) -> dict[str, list[str]]:
    """What must fall to no edit, but rephrases to theirs."""
    return {
        "rephrase": [p for p, _ in probes.rephrase],
        "near_miss_subject": [p for p, _ in probes.near_subject],
        "near_miss_relation": [p for p, _ in probes.near_relation],
        "locality": [p for p, _ in probes.locality],
        "traffic": list(traffic),
    }


def _routed(
    index: NeuronIndex, reader: KeyReader, probes: Probes, traffic: Sequence[str]
) -> dict[str, float]:
    prompts = _prompts(probes, traffic)
    hits = index.find(prompts.pop("rephrase"), reader)
    wanted = [index[edit].names for _, edit in probes.rephrase]
    shares = {
        "found": _share(
            hit.inside and hit.member is not None and hit.member.names == names
            for hit, names in zip(hits, wanted, strict=True)
        )
    }
    for kind, texts in prompts.items():
        if texts:
            shares[kind] = _share(hit.inside for hit in index.find(texts, reader))
    return shares


def _share(truths: Iterable[bool]) -> float:
    values = [float(truth) for truth in truths]
    return round(float(np.mean(values)), 4) if values else float("nan")
