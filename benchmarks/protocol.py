"""How a file of edits is cut up, so that nothing is tested on what it was tuned on.

    tested     edited, one job after the other; their rephrases and locality answers are never shown
    unseen     subjects that neither training nor calibration sees; their prompts are near-misses
    left out   rows that are neither edited nor tested: they only say which questions ask the same

No subject stands in two of the three. With `limit`, the first rows are tested and the rows beyond
it give the other two parts, as far as they go; rows of another file may be added to those beyond.
Otherwise half of the subjects are unseen, and one in ten is left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import DataError
from benchmarks.wordings import KnownWordings, asking_the_same
from melo_engine import EditRequest
from melo_engine.matching.names import words
from melo_engine.near_misses import NearMisses, template_for

UNSEEN_SHARE, LEFT_OUT_SHARE = 0.5, 0.1
MOST_LEFT_OUT = 1500
SUBJECT_MISSES, RELATION_MISSES = 2, 3


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of a file by their part. Each row: request without rephrases, and what is held out."""

    tested: list[Row]
    unseen: list[Row]
    left_out: list[Row]


@dataclass(frozen=True, slots=True)
class Row:
    """One line: the request as the engine sees it, and what only the test sees.

    near: other questions about its subject, where the file has some.
    """

    request: EditRequest
    rephrases: tuple[str, ...]
    locality: tuple[str, ...]
    portability: tuple[tuple[str, str], ...]
    near: tuple[str, ...]
    raw: dict[str, Any]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a file in the shape of an edit set, those with a prompt and a target.

    Raises DataError where the file is not JSON lines, or no line is of this shape.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines if line.strip()]
    except (UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path.name} is not made of JSON lines ({error}).") from None
    usable = [r for r in rows if isinstance(r, dict) and _text(r, "prompt") and _text(r, "target")]
    if not usable:
        raise DataError(f'{path.name} has no line with a "prompt" and a "target".')
    return usable


def plain_rows(rows: Sequence[dict[str, Any]]) -> list[Row]:
    """Rows of a file of which all are tested."""
    return [_row(i, r) for i, r in enumerate(rows)]


def split_rows(
    rows: Sequence[dict[str, Any]],
    limit: int | None,
    seed: int = 0,
    extra_rows: Sequence[dict[str, Any]] = (),
) -> Split:
    """Cut a file up as described above. Deterministic in the rows and the seed.

    extra_rows: rows of another file, none of which is tested.
    """
    inside = [_row(i, r) for i, r in enumerate(rows[:limit])]
    after = [*rows[len(inside) :], *extra_rows]
    beyond = [_row(i + len(inside), r) for i, r in enumerate(after)]
    tested_subjects = {_subject(r) for r in inside}
    beyond = [r for r in beyond if _subject(r) not in tested_subjects]
    if len(beyond) >= len(inside) // 2:
        unseen = [r for r in beyond if _share(_subject(r), seed) < UNSEEN_SHARE][: len(inside)]
        taken = {_subject(r) for r in unseen}
        left_out = [r for r in beyond if _subject(r) not in taken]
        return Split(inside, unseen, left_out[:MOST_LEFT_OUT])
    unseen = [r for r in inside if _share(_subject(r), seed) < UNSEEN_SHARE]
    edge = UNSEEN_SHARE + LEFT_OUT_SHARE
    left_out = [r for r in inside if UNSEEN_SHARE <= _share(_subject(r), seed) < edge]
    tested = [r for r in inside if _share(_subject(r), seed) >= edge]
    return Split(tested, unseen, left_out)


@dataclass(frozen=True, slots=True)
class Probes:
    """Prompts of the test, each with the id of the edit it was made for."""

    rephrase: list[tuple[str, str]]
    locality: list[tuple[str, str]]
    near_subject: list[tuple[str, str]]
    near_relation: list[tuple[str, str]]
    portability: list[tuple[str, str, str]]  # prompt, answer, id
    edited_locality: int = 0  # locality questions left out, since they are those of an edit
    reworded_locality: frozenset[str] = frozenset()  # those that ask an edit's question otherwise


def probes_for(active: Sequence[Row], split: Split, seed: int = 0) -> Probes:
    """The test prompts of the edits that are active at the end.

    Other subject: prompts of the unseen rows as they are, and the edits' own wording about unseen
    subjects. Other relation: an edit's subject in the wording of unseen rows, unless any edit of
    that subject shares a content word or an answer with that wording; or what the file has as
    other questions about it. Locality: but for questions that are an edit's own, word for word:
    those are to change.
    """
    by_subject: dict[str, list[EditRequest]] = {}
    for row in active:
        by_subject.setdefault(_subject(row), []).append(row.request)
    unseen = [r.request for r in split.unseen]
    near = NearMisses([*unseen, *(r.request for r in active)], seed + 1)
    templates = [t for request in unseen if (t := template_for(request))]
    names = [r.subject for r in unseen if r.subject]
    unseen_questions = [(r.question, "") for r in unseen]
    subject_misses = [
        (p, row.request.id)
        for row in active
        for p in near.other_subjects(row.request, SUBJECT_MISSES, names)
    ]
    relation_misses = [
        (p, row.request.id)
        for row in active
        for p in row.near
        or near.other_relations(row.request, RELATION_MISSES, templates, by_subject[_subject(row)])
    ]
    edited = {tuple(words(p)) for row in active for p in (row.request.question, *row.rephrases)}
    stated = [(p, row.request.id) for row in active for p in row.locality]
    locality = [(p, i) for p, i in stated if tuple(words(p)) not in edited]
    rows = [*active, *split.tested, *split.unseen, *split.left_out]
    wordings = KnownWordings([(r.request, r.rephrases) for r in rows])
    return Probes(
        [(p, row.request.id) for row in active for p in row.rephrases],
        locality,
        unseen_questions + subject_misses,
        relation_misses,
        [(p, a, row.request.id) for row in active for p, a in row.portability],
        len(stated) - len(locality),
        asking_the_same([p for p, _ in locality], [r.request for r in active], wordings),
    )


def _row(number: int, raw: dict[str, Any]) -> Row:
    subject = (raw.get("subject") or "").strip() or None
    request = EditRequest(
        raw["prompt"], str(raw["target"]).strip(), subject, id=f"{number:06d}-{_digest(raw)}"
    )
    locality = tuple(p["prompt"] for p in raw.get("locality") or ())
    portability = tuple((p["prompt"], str(p["answer"])) for p in raw.get("portability") or ())
    rephrases, near = (tuple(raw.get(name) or ()) for name in ("rephrases", "near"))
    return Row(request, rephrases, locality, portability, near, raw)


def _text(raw: dict[str, Any], name: str) -> bool:
    return bool(str(raw.get(name) or "").strip())


def _subject(row: Row) -> str:
    return "".join(words(row.request.subject or row.request.question))


def _share(subject: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}|{subject}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _digest(raw: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:8]
