"""Near-duplicates: the same question in other words. Who was compared, who belongs together.

    uncompared ──► keys compared outside (tasks/similar.py) ──► set_groups ──► contradictions settled

Only what is new is compared: `compared` keeps the name of the key space in which an edit was, and
an edit is looked at once for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ledger import settling
from ledger.edits import Edits
from ledger.statements import statement
from ledger.states import LIVE
from ledger.store import Connection, Store, column, registered, texts
from ledger.types import EditRecord, IntakeRules


@dataclass(frozen=True)
class Question:
    """What is compared of an edit. names: its subject and aliases; group: as it stands."""

    id: str
    prompt: str
    names: tuple[str, ...]
    group: str | None


class Deduplication:
    """Near-duplicates among the edits."""

    def __init__(self, store: Store, edits: Edits) -> None:
        self._store = store
        self._edits = edits

    def uncompared(self, space: str, *, limit: int) -> list[Question]:
        """Questions not compared in this key space yet, in order of arrival.

        All that are in a job or in a version, and at most `limit` of those that are ready, the
        most pressing: what is about to be planned is among them.
        """
        with self._store.read() as con:
            rows = statement("uncompared").rows(
                con, space=space, limit=limit, now=datetime.now(UTC)
            )
        return [_question(row) for row in rows]

    def compared(self, space: str) -> list[Question]:
        """Live questions that were compared in this key space, in order of arrival."""
        rows = self._store.rows(_COMPARED, {"space": space})
        return [_question(row) for row in rows]

    def set_groups(
        self,
        groups: Mapping[str, str],
        *,
        rules: IntakeRules,
        compared: Iterable[str] = (),
        space: str | None = None,
        now: datetime | None = None,
    ) -> int:
        """Record near-duplicates (edit: group) and settle contradictions within each group.

        `compared` were looked at in `space`; those in no group leave the one they were in. With
        `rules.same_subject` not "never", edits of one group about one subject that answer
        differently contradict each other; an edit without a subject is about each subject of its
        group that its prompt mentions. Returns how many contradictions were found.
        """
        at = now or datetime.now(UTC)
        compared = list(compared)
        if not groups and not compared:
            return 0
        with self._store.write() as con:
            con.execute(
                "UPDATE edit_states SET compared = ?, group_id = NULL "
                "WHERE edit_id IN (SELECT unnest(?::VARCHAR[]))",
                [space, compared],
            )
            if not groups:
                return 0
            members = _regroup(con, groups)
            if rules.same_subject == "never":
                return 0
            statement("claims").run(con, groups=list(set(groups.values())))
            return settling.settle_among(con, members, rules, at)

    def group_of(self, edit_id: str) -> list[EditRecord]:
        """The other edits that ask the same in other words. Raises UnknownId."""
        edit = self._edits.get(edit_id)
        if edit.group is None:
            return []
        ids = self._store.rows(
            "SELECT edit_id FROM edit_states WHERE group_id = ? AND edit_id <> ?",
            [edit.group, edit.id],
        )
        return self._edits.find(ids=[row[0] for row in ids]) if ids else []

    def counts(self) -> tuple[int, int]:
        """How many live edits belong to how many groups of near-duplicates."""
        (row,) = self._store.rows(
            "SELECT coalesce(sum(n), 0)::BIGINT, count(*) FROM (SELECT count(*) AS n "
            f"FROM edit_states WHERE group_id IS NOT NULL AND state IN {LIVE} "
            "GROUP BY group_id HAVING count(*) > 1)"
        )
        return int(row[0]), int(row[1])


_COMPARED = f"""
SELECT e.edit_id, e.prompt, e.subject, e.aliases, s.group_id
FROM edit_states s JOIN edits e USING (edit_id)
WHERE s.compared = $space AND s.state IN {LIVE} ORDER BY e.seq
"""


def _regroup(con: Connection, groups: Mapping[str, str]) -> list[str]:
    """Write groups down; returns all live members of the groups that were touched."""
    with registered(con, "grouping", texts("edit_id", "group_id"), groups.items()):
        con.execute(
            "UPDATE edit_states AS s SET group_id = g.group_id FROM grouping g "
            "WHERE g.edit_id = s.edit_id"
        )
        return column(
            con.execute(
                "SELECT edit_id FROM edit_states "
                f"WHERE group_id IN (SELECT group_id FROM grouping) AND state IN {LIVE}"
            )
        )


def _question(row: tuple[object, ...]) -> Question:
    edit_id, prompt, subject, aliases, group = row
    names = (subject, *(aliases or ())) if subject else ()  # type: ignore[misc]
    return Question(str(edit_id), str(prompt), names, group)  # type: ignore[arg-type]
