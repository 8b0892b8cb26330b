"""The ledger, whole: every part of it on one file."""

from __future__ import annotations

from ledger.audit import audit
from ledger.store import first
from ledger.types import Counts
from ledger.write_backs import WriteBacks


class Ledger(WriteBacks):
    """Open it with `Ledger.open(path)`; see the parts for what it can do:
    Store, Intake, Edits, Planning, Versions, Likeness, Sources, Review, Deciding, WriteBacks."""

    def counts(self) -> Counts:
        """Every input line in exactly one count: its edit's state, duplicate or quarantined."""
        with self.read() as con:
            counts = {
                str(state): int(number)
                for state, number in con.execute(
                    """SELECT CASE r.outcome WHEN 'accepted' THEN s.state::VARCHAR
                              ELSE r.outcome::VARCHAR END AS what, count(*)
                    FROM reports r LEFT JOIN edit_states s
                        ON s.edit_id = r.edit_id AND r.outcome = 'accepted'
                    GROUP BY what ORDER BY what"""
                ).fetchall()
            }
            rules = {
                str(rule): int(number)
                for rule, number in con.execute(
                    "SELECT rule, count(*) FROM contests GROUP BY rule ORDER BY rule"
                ).fetchall()
            }
            row = first(
                con.execute("SELECT (SELECT count(*) FROM reports), count(*) FROM versions")
            )
            champion = self.champion()
        assert row is not None
        return Counts(row[0], counts, rules, row[1], champion.version if champion else None)

    def audit(self) -> list[str]:
        """What is wrong with the record; empty where every line and every state is consistent."""
        with self.read() as con:
            return audit(con)
