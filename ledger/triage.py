"""Reports without the right answer, grouped by question, the most reported first.

    "wrong" ─┐                              question, how often, since when
    "wrong, should be Oslo" ─┼─► one edit,  what the model answered, how often each
    thumbs-down ─┘   held for an `answer`   comments, with the answer that each seems to hold

Reports that ask one question are one edit (ledger/staging.py), each with its own line. What a line
says besides, the model's answer and a comment, is read from its raw text. A proposal is never applied:
somebody says the answer (`Review.answer`), or a correction of the same question comes
(`admission._end_answered`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ledger.edits import Edits
from ledger.store import Connection, Store
from text import proposed_answer

COMMENTS = 50  # of one question that are read, the latest


@dataclass(frozen=True)
class Comment:
    """What one reporter said. proposal: the right answer that it seems to hold."""

    text: str
    source: str | None
    at: datetime
    proposal: str | None = None


@dataclass(frozen=True)
class Unanswered:
    """A question that was reported without the right answer.

    reports: lines that say so, each a thumbs-down. answers: what the model said, and how often.
    in_use: what an edit that serves answers to it, by that edit.
    """

    edit: str
    prompt: str
    reports: int
    sources: int
    first: datetime
    last: datetime
    urgent: bool
    answers: tuple[tuple[str, int], ...] = ()
    comments: tuple[Comment, ...] = ()
    in_use: tuple[str, str] | None = None

    @property
    def proposals(self) -> tuple[tuple[str, int], ...]:
        """Answers that comments seem to hold, the most frequent first, with how often each."""
        counts: dict[str, int] = defaultdict(int)
        for comment in self.comments:
            if comment.proposal:
                counts[comment.proposal] += 1
        return tuple(sorted(counts.items(), key=lambda pair: -pair[1]))


class Triage:
    """Reports that still need their answer."""

    def __init__(self, store: Store, edits: Edits) -> None:
        self._store = store
        self._edits = edits

    def unanswered(
        self, *, limit: int | None = None, edit_id: str | None = None
    ) -> list[Unanswered]:
        """Questions that were reported without the right answer, the most reported first.

        Raises UnknownId.
        """
        edit = None if edit_id is None else self._edits.get(edit_id).id
        with self._store.read() as con:
            return unanswered(con, limit=limit, edit=edit)


def unanswered(
    con: Connection, *, limit: int | None = None, edit: str | None = None
) -> list[Unanswered]:
    """Questions that are held for an answer, the most reported first. edit: of this one alone."""
    rows = con.execute(_QUESTIONS, {"limit": limit, "edit": edit}).fetchall()
    ids = [row[0] for row in rows]
    if not ids:
        return []
    answers: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, text, count in con.execute(_ANSWERS, {"ids": ids}).fetchall():
        answers[name].append((text, count))
    comments: dict[str, list[Comment]] = defaultdict(list)
    for name, text, source, at in con.execute(_COMMENTS, {"ids": ids, "most": COMMENTS}).fetchall():
        comments[name].append(Comment(text, source, at, proposed_answer(text)))
    in_use = {name: (target, by) for name, target, by in con.execute(_IN_USE, [ids]).fetchall()}
    return [
        replace(
            Unanswered(*row),
            answers=tuple(answers[row[0]]),
            comments=tuple(comments[row[0]]),
            in_use=in_use.get(row[0]),
        )
        for row in rows
    ]


def as_json(question: Unanswered) -> dict[str, Any]:
    """All of it as JSON takes it, proposals included."""
    return {
        **vars(question),
        "comments": [
            {**vars(comment), "at": comment.at.isoformat()} for comment in question.comments
        ],
        "first": question.first.isoformat(),
        "last": question.last.isoformat(),
        "answers": [{"answer": text, "reports": count} for text, count in question.answers],
        "proposals": [{"answer": text, "comments": count} for text, count in question.proposals],
        "in_use": question.in_use and {"answer": question.in_use[0], "edit": question.in_use[1]},
    }


_QUESTIONS = """
WITH waiting AS (
    SELECT edit_id, urgent FROM edit_states WHERE state = 'held' AND hold = 'answer'
      AND ($edit IS NULL OR edit_id = $edit)),
counted AS (
    SELECT r.edit_id, count(*) AS reports, count(DISTINCT r.source) AS sources,
           min(r.received_at) AS first, max(r.received_at) AS last
    FROM reports r WHERE r.edit_id IN (SELECT edit_id FROM waiting) GROUP BY r.edit_id)
SELECT w.edit_id, e.prompt, c.reports, c.sources, c.first, c.last, w.urgent
FROM waiting w JOIN edits e USING (edit_id) JOIN counted c USING (edit_id)
ORDER BY w.urgent DESC, c.reports DESC, c.first, e.seq LIMIT $limit
"""

# A line is read as JSON where it is some: a preset may have found its fields elsewhere.
_LINES = """
WITH lines AS (
    SELECT edit_id, source, received_at, file_id, line,
           CASE WHEN json_valid(raw) THEN raw END AS raw
    FROM reports WHERE edit_id IN (SELECT unnest($ids::VARCHAR[])))
"""

_ANSWERS = f"""{_LINES}
SELECT l.edit_id, coalesce(json_extract_string(l.raw, '$.old_answer'), e.old_answer) AS answer, count(*)
FROM lines l JOIN edits e USING (edit_id)
WHERE trim(coalesce(json_extract_string(l.raw, '$.old_answer'), e.old_answer)) <> ''
GROUP BY 1, 2 ORDER BY 3 DESC, 2
"""

_COMMENTS = f"""{_LINES}
SELECT edit_id, trim(json_extract_string(raw, '$.comment')) AS comment, source, received_at FROM lines
WHERE json_type(raw, '$.comment') = 'VARCHAR' AND comment <> ''
QUALIFY row_number() OVER (
    PARTITION BY edit_id ORDER BY received_at DESC, file_id DESC, line DESC) <= $most
ORDER BY received_at DESC, file_id DESC, line DESC
"""

_IN_USE = """
SELECT DISTINCT ON (o.edit_id) o.edit_id, e.target, e.edit_id
FROM questions o JOIN questions q USING (key) JOIN edit_states s ON s.edit_id = q.edit_id
JOIN edits e ON e.edit_id = q.edit_id
WHERE o.edit_id IN (SELECT unnest(?::VARCHAR[])) AND s.state = 'active' AND e.target IS NOT NULL
ORDER BY o.edit_id, e.seq DESC
"""
