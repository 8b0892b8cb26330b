"""The step: the same question in other words. Near-duplicates are found by the engine's keys.

    new questions ──keys (kept on disk)──► about the same? ask the same? ──► groups in the ledger

Before anything is planned, questions that were not looked at yet are compared with all that were.
Two ask the same where one is about a subject that stands in the other (or neither names one and
they are alike as a whole), what they ask of it is alike, they hold the same numbers and do not differ
in a single word ("starts", "stops"), which keys hardly tell apart. Keys are those of the gate: read
once for each backbone, and never again by either.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from execution import progress
from execution.context import Context
from execution.lineage import BASE
from ledger import Question
from melo_engine.contrast import one_word_apart
from melo_engine.index import Member, NeuronIndex
from melo_engine.matching import name_in
from tasks.gate.cache.keys import ProbeKeys
from tasks.ingest import rules_from

AT_ONCE = 2048  # keys read between two reports of progress


@dataclass(frozen=True)
class Likeness:
    """compared: how many questions were looked at. groups: those that changed, {name: members}."""

    compared: int = 0
    groups: dict[str, list[str]] | None = None
    contradictions: int = 0


def group_similar(context: Context) -> Likeness:
    """Compare what is about to be planned with what is live; record groups, settle contradictions.

    Cheap where nothing is new: one look into the ledger. Raises TaskError, BackboneError.
    """
    versions = context.versions
    backbone, projection = versions.backbone, versions.projection
    alike = context.settings.contradictions.alike
    space = f"{backbone.weights_hash[:16]}-{projection.content_hash()[:16]}-{alike}"
    rules = rules_from(context.settings)
    limit = context.settings.plan.max_jobs * context.settings.plan.max_edits_per_job
    if not context.ledger.deduplication.uncompared(space, limit=1):
        return Likeness()
    context.ledger.review.come_due(rules)  # what comes in by its date is compared with the others
    fresh = context.ledger.deduplication.uncompared(space, limit=limit)
    compared = context.ledger.deduplication.compared(space)
    keys = projection.as_edits(_keys(context, [*compared, *fresh]))
    groups = similar(compared, fresh, keys, projection.relation_size, alike)
    contradictions = context.ledger.deduplication.set_groups(
        {edit: name for name, members in groups.items() for edit in members},
        rules=rules,
        compared=[question.id for question in fresh],
        space=space,
    )
    context.ledger.store.publish()
    return Likeness(len(fresh), groups, contradictions)


def similar(
    compared: list[Question], fresh: list[Question], keys: np.ndarray, relation: int, alike: float
) -> dict[str, list[str]]:
    """Groups that fresh questions start or join: {name: all members}.

    keys: (len(compared) + len(fresh), K) float32, their first `relation` values say what is asked.
    alike: cosine from which on. A group is named after its first edit and keeps its name.
    """
    questions = [*compared, *fresh]
    row_of = {question.id: row for row, question in enumerate(questions)}
    index = NeuronIndex(keys.shape[1], relation)
    index.add([_member(q, keys[row]) for row, q in enumerate(compared)])
    roots = _Roots(questions)
    reach = math.sqrt(max(0.0, 2.0 - 2.0 * alike))  # between unit vectors
    touched: set[int] = set()
    for row, question in enumerate(fresh, len(compared)):
        for other in index.around(keys[row], question.prompt, reach, reach):
            other_row = row_of[other.edit]
            similarity = float(keys[row, :relation] @ keys[other_row, :relation])
            if similarity >= alike and not _apart(question, questions[other_row]):
                roots.join(row, other_row)
                touched.add(row)
        index.add([_member(question, keys[row])])
    changed = {roots.of(row) for row in touched}
    groups: dict[str, list[str]] = {}
    for row, question in enumerate(questions):
        if (root := roots.of(row)) in changed:
            groups.setdefault(roots.name(root), []).append(question.id)
    return groups


class _Roots:
    """Union-find over rows. Questions of one earlier group are joined from the start."""

    def __init__(self, questions: list[Question]) -> None:
        self._parent = list(range(len(questions)))
        self._names: list[str] = [q.group or q.id for q in questions]
        first: dict[str, int] = {}
        for row, question in enumerate(questions):
            if question.group:
                self.join(row, first.setdefault(question.group, row))

    def of(self, row: int) -> int:
        while self._parent[row] != row:
            self._parent[row] = self._parent[self._parent[row]]
            row = self._parent[row]
        return row

    def join(self, row: int, other: int) -> None:
        a, b = sorted((self.of(row), self.of(other)))
        self._parent[b] = a

    def name(self, root: int) -> str:
        return self._names[root]


def _keys(context: Context, questions: list[Question]) -> np.ndarray:
    store = ProbeKeys(context.versions.editor(BASE), context.paths.answers.with_suffix(".keys"))
    prompts = [question.prompt for question in questions]
    names = [name_in(question.prompt, question.names) for question in questions]
    for start in range(0, len(prompts), AT_ONCE):
        end = min(start + AT_ONCE, len(prompts))
        store.of(prompts[start:end], names[start:end])
        progress.report("comparing questions", end, len(prompts))
    return store.of(prompts, names)


def _member(question: Question, key: np.ndarray) -> Member:
    return Member(question.id, key, 0.0, question.names)


def _apart(question: Question, other: Question) -> bool:
    """ "Who won in 2012?" and "Who won in 2014?" read alike, and are two questions."""
    one, two = (sorted(re.findall(r"\d+", q.prompt)) for q in (question, other))
    return one != two or one_word_apart(question.prompt, other.prompt)
