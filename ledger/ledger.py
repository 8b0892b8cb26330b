"""The ledger: one store, and the parts that keep their record in it.

    Ledger ──► store          the file, its transactions and migrations
           ├─► intake, quarantine, sources                 what comes in, and from whom
           ├─► edits, wordings, removals, conflicts, deduplication
           ├─► review, triage, decisions                   what people and dates decide
           ├─► jobs, versions, champions, events           what becomes of edits
           └─► write_backs                                 what other tools are told

Parts share the store, so that what several of them do within `store.write()` is one transaction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from ledger.audit import audit
from ledger.champions import Champions
from ledger.conflicts import Conflicts
from ledger.decisions import Decisions
from ledger.deduplication import Deduplication
from ledger.edits import Edits
from ledger.events import Events
from ledger.intake import Intake
from ledger.jobs import Jobs
from ledger.quarantine import Quarantine
from ledger.removals import Removals
from ledger.review import Review
from ledger.sources import Sources
from ledger.store import Store, column
from ledger.triage import Triage
from ledger.types import Counts
from ledger.versions import Versions
from ledger.wordings import Wordings
from ledger.write_backs import WriteBacks


class Ledger:
    """The record of everything that happened. Open it with `Ledger.open(path)`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.intake = Intake(store)
        self.quarantine = Quarantine(store)
        self.sources = Sources(store)
        self.edits = Edits(store)
        self.wordings = Wordings(store)
        self.removals = Removals(store)
        self.conflicts = Conflicts(store)
        self.deduplication = Deduplication(store, self.edits)
        self.review = Review(store, self.edits)
        self.triage = Triage(store, self.edits)
        self.decisions = Decisions(store, self.edits, self.review)
        self.jobs = Jobs(store, self.edits)
        self.versions = Versions(store)
        self.champions = Champions(store)
        self.events = Events(store)
        self.write_backs = WriteBacks(store)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        read_only: bool = False,
        timeout: float = 120.0,
        threads: int = 2,
        read_copy: str | Path | None = None,
    ) -> Self:
        """Open a ledger, creating or migrating it unless `read_only`.

        `read_copy` names the file that is published for readers after changes.
        Raises NotALedger, LedgerTooNew, LedgerTooOld, LedgerBusy.
        """
        return cls(
            Store(
                Path(path),
                read_only=read_only,
                timeout=timeout,
                threads=threads,
                read_copy=Path(read_copy) if read_copy else None,
            )
        )

    def close(self) -> None:
        """Publish what is unpublished. The file itself is never held between transactions."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def counts(self) -> Counts:
        """Every input line in exactly one count: its edit's state, duplicate or quarantined."""
        with self.store.read() as con:
            counts = con.execute(
                """SELECT CASE r.outcome WHEN 'accepted' THEN s.state::VARCHAR
                          ELSE r.outcome::VARCHAR END AS what, count(*)
                FROM reports r LEFT JOIN edit_states s
                    ON s.edit_id = r.edit_id AND r.outcome = 'accepted'
                GROUP BY what ORDER BY what"""
            ).fetchall()
            rules = con.execute(
                "SELECT rule, count(*) FROM contests GROUP BY rule ORDER BY rule"
            ).fetchall()
            (versions,) = column(con.execute("SELECT count(*) FROM versions"))
            (lines,) = column(con.execute("SELECT count(*) FROM reports"))
            champion = self.champions.current()
        serving = champion.version if champion else None
        return Counts(lines, dict(counts), dict(rules), versions, serving)

    def audit(self) -> list[str]:
        """What is wrong with the record; empty where every line and every state is consistent."""
        with self.store.read() as con:
            return audit(con)
