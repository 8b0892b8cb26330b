"""From edits that are ready to jobs, and the lease that lets one worker at a time run a job.

    open ──lease──► leased ──finish──► done
      ▲                │ fail, or lease run out
      └────────────────┘ ... until max_attempts, then failed and its edits rejected

An attempt that ended for a reason outside its job does not count; one that ended for an unknown reason
(its worker died, no memory was left) weighs a third.

`attempt` is the fencing token: a worker whose lease ran out and was given to another gets
LeaseLost at its next heartbeat, finish or fail, and must throw its work away.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ledger import settling, states
from ledger.batches import READY, batches
from ledger.edits import Edits
from ledger.errors import LeaseLost, UnknownId
from ledger.store import Connection, Store, column, first
from ledger.types import Job

DOUBTS = 3  # doubtful tries that weigh as much as one failure


@dataclass(frozen=True)
class JobOutcome:
    """What came of a job's edits; one that is named nowhere becomes ready again.

    rejected: edits that end, and why. held: those that contradict another one without a rule to decide,
    and why; they wait for a person, and are on record as a contradiction that nobody has won. rivals:
    which other one; from now on both count as one question.
    """

    version: str | None = None
    trained: Collection[str] = ()
    rejected: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    rivals: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StageCost:
    """What one stage of a job, or of a version, took."""

    stage: str
    seconds: float
    job_id: str | None = None
    version_id: str | None = None
    memory_bytes: int | None = None
    gpu_bytes: int | None = None
    device: str | None = None


class Jobs:
    """Batches of edits, planned and leased."""

    def __init__(self, store: Store, edits: Edits) -> None:
        self._store = store
        self._edits = edits

    def plan(
        self,
        *,
        max_edits: int = 50,
        max_jobs: int | None = None,
        now: datetime | None = None,
    ) -> list[Job]:
        """Put ready edits and requested removals into jobs, the most pressing first.

        Pressing is: urgent, then how often reported and how long waiting. Edits of one group of
        near-duplicates or of one subject stay together where the size allows. An edit that beats
        one still in another job waits for that job's end.
        """
        at = now or datetime.now(UTC)
        with self._store.write() as con:
            settling.retire_losers(con, at)
            rows = con.execute(READY, [at]).fetchall()
            removals = column(
                con.execute(
                    "SELECT DISTINCT edit_id FROM retirements JOIN edit_states s USING (edit_id) "
                    "WHERE NOT done AND retirements.job_id IS NULL AND s.state = 'active' "
                    "ORDER BY edit_id"
                )
            )
            jobs: list[str] = []
            for batch, score in batches(rows, max_edits):
                # Where two are as pressing, the one that was planned first is leased first.
                planned_at = at + timedelta(microseconds=len(jobs))
                jobs.append(_create(con, batch, removals, score, planned_at))
                removals = []
                if max_jobs is not None and len(jobs) >= max_jobs:
                    break
            if removals:
                jobs.append(_create(con, [], removals, 1.0, at))
            return [self.get(job_id) for job_id in jobs]

    def lease(
        self,
        worker: str,
        *,
        lease_seconds: float = 600,
        max_attempts: int = 3,
        but: Iterable[str] = (),
        now: datetime | None = None,
    ) -> Job | None:
        """Take the most pressing job that nobody holds; None where there is none.

        A job whose lease ran out is taken up again; one that ran out of attempts fails. but: jobs
        that are not to be taken.
        """
        at = now or datetime.now(UTC)
        with self._store.write() as con:
            for job_id, attempts in con.execute(
                _WORN_OUT, [at, max_attempts, DOUBTS * max_attempts]
            ).fetchall():
                _give_up(con, job_id, f"no worker finished it in {attempts} attempts", at)
            row = first(
                con.execute(
                    """UPDATE jobs SET state = 'leased', worker = ?, attempt = attempt + 1,
                       lease_until = ?,
                       doubtful = coalesce(doubtful, 0) + (state = 'leased')::INTEGER
                WHERE job_id = (
                    SELECT job_id FROM jobs
                    WHERE (state = 'open' OR (state = 'leased' AND lease_until <= ?))
                    AND job_id NOT IN (SELECT unnest(?::VARCHAR[]))
                    ORDER BY priority DESC, created_at, job_id LIMIT 1)
                RETURNING job_id""",
                    [worker, at + timedelta(seconds=lease_seconds), at, list(but)],
                )
            )
            return self.get(row[0]) if row else None

    def heartbeat(
        self, job: Job, *, lease_seconds: float = 600, now: datetime | None = None
    ) -> None:
        """Prolong the lease of a job, as it was taken. Raises LeaseLost where it is another's now."""
        at = now or datetime.now(UTC)
        with self._store.write() as con:
            _require_lease(con, job)
            con.execute(
                "UPDATE jobs SET lease_until = ? WHERE job_id = ?",
                [at + timedelta(seconds=lease_seconds), job.id],
            )

    def finish(self, job: Job, outcome: JobOutcome, *, now: datetime | None = None) -> None:
        """End a job, as it was taken, and move its edits on.

        An edit that was withdrawn meanwhile stays as it is. Raises LeaseLost.
        """
        at = now or datetime.now(UTC)
        with self._store.write() as con:
            worker = _require_lease(con, job)
            planned = set(_planned(con, job.id))
            steps = {i: states.Step(i, states.TRAINED, "block trained") for i in outcome.trained}
            for edit_id, why in outcome.held.items():
                steps[edit_id] = states.Step(edit_id, states.HELD, why, "contradiction")
            for edit_id, why in outcome.rejected.items():
                steps[edit_id] = states.Step(edit_id, states.REJECTED, why)
            by = states.Provenance(at, worker, outcome.version, job.id)
            moved = [step for i, step in steps.items() if i in planned]
            states.move_each(con, moved, by)
            for edit_id, rival in outcome.rivals.items():
                con.execute(
                    "INSERT INTO questions SELECT md5_number(?), unnest([?, ?])",
                    [f"\x1a{min(edit_id, rival)}{max(edit_id, rival)}", edit_id, rival],
                )
            settling.note_undecided(con, [step.edit for step in moved if step.hold], at)
            left = _planned(con, job.id)
            reason = "its job ended without it"
            states.move(con, left, states.READY, reason, states.Provenance(at, worker))
            con.execute(
                "UPDATE jobs SET state = 'done', finished_at = ?, version = ?, lease_until = NULL "
                "WHERE job_id = ?",
                [at, outcome.version, job.id],
            )

    def fail(
        self,
        job: Job,
        error: str,
        *,
        max_attempts: int = 3,
        doubtful: bool = False,
        now: datetime | None = None,
    ) -> bool:
        """Give a job back after an error; True where it will be tried again. Raises LeaseLost.

        doubtful: the error may lie in the job or in the machine; it weighs a third of a failure.
        """
        at = now or datetime.now(UTC)
        with self._store.write() as con:
            _require_lease(con, job)
            con.execute(_REOPEN, [error[:2000], int(doubtful), 0, job.id])
            worn_out = column(con.execute(_WORN_OUT, [at, max_attempts, DOUBTS * max_attempts]))
            if job.id in worn_out:
                _give_up(con, job.id, error, at)
            return job.id not in worn_out

    def postpone(self, job: Job, error: str) -> None:
        """Give a job back after an error that is not its own: the try does not count.

        Raises LeaseLost.
        """
        with self._store.write() as con:
            _require_lease(con, job)
            con.execute(_REOPEN, [error[:2000], 0, 1, job.id])

    def get(self, job_id: str) -> Job:
        """One job with its edits. Raises UnknownId."""
        with self._store.read() as con:
            row = first(con.execute(_JOB, [job_id]))
            if row is None:
                raise UnknownId(f"no job {job_id!r} is on record.")
            members = con.execute(
                "SELECT edit_id, role FROM job_edits WHERE job_id = ? ORDER BY rowid", [job_id]
            ).fetchall()
            ids = [edit_id for edit_id, role in members if role == "edit"]
            by_id = {edit.id: edit for edit in self._edits.find(ids=ids)} if ids else {}
            edits = tuple(by_id[edit_id] for edit_id in ids)
            removals = tuple(edit_id for edit_id, role in members if role == "remove")
            return Job(job_id, edits, removals, *row)

    def find(self, *, state: str | None = None) -> list[Job]:
        """All jobs, or those of one state, oldest first."""
        with self._store.read() as con:
            rows = con.execute(
                "SELECT job_id FROM jobs WHERE ? IS NULL OR state = ? ORDER BY created_at, job_id",
                [state, state],
            ).fetchall()
            return [self.get(row[0]) for row in rows]

    def record_cost(self, cost: StageCost) -> None:
        """Keep what one stage of a job took, with how many edits the job has."""
        with self._store.write() as con:
            con.execute(
                "INSERT INTO stage_costs SELECT j.job_id, $version_id, $stage, $at, $seconds, "
                "$memory_bytes, $gpu_bytes, $device, "
                "(SELECT count(*) FROM job_edits WHERE job_id = j.job_id AND role = 'edit') "
                "FROM (SELECT coalesce($job_id, "
                "(SELECT job_id FROM versions WHERE version_id = $version_id)) AS job_id) j",
                {**vars(cost), "at": datetime.now(UTC)},
            )


_JOB = """
SELECT attempt, worker, lease_until, state, priority, created_at, error, version
FROM jobs WHERE job_id = ?
"""


def _create(
    con: Connection, batch: list[str], removals: list[str], score: float, at: datetime
) -> str:
    job_id = uuid.uuid4().hex[:12]
    con.execute(
        "INSERT INTO jobs (job_id, state, priority, created_at) VALUES (?, 'open', ?, ?)",
        [job_id, score, at],
    )
    if batch:
        con.execute("INSERT INTO job_edits SELECT ?, unnest(?::VARCHAR[]), 'edit'", [job_id, batch])
    if removals:
        con.execute(
            "INSERT INTO job_edits SELECT ?, unnest(?::VARCHAR[]), 'remove'", [job_id, removals]
        )
        con.execute(
            "UPDATE retirements SET job_id = ? WHERE edit_id IN (SELECT unnest(?::VARCHAR[])) "
            "AND NOT done",
            [job_id, removals],
        )
    reason = f"planned in job {job_id}"
    states.move(con, batch, states.PLANNED, reason, states.Provenance(at, "plan", job_id=job_id))
    return job_id


def _require_lease(con: Connection, job: Job) -> str:
    """The worker that holds the job, as `job` says. Raises LeaseLost, UnknownId."""
    row = first(con.execute("SELECT worker, attempt, state FROM jobs WHERE job_id = ?", [job.id]))
    if row is None:
        raise UnknownId(f"no job {job.id!r} is on record.")
    if row != (job.worker, job.attempt, "leased"):
        raise LeaseLost(
            f"job {job.id} is no longer {job.worker}'s (attempt {job.attempt}): it is {row[2]}, "
            f"attempt {row[1]}, worker {row[0]}. Throw this work away."
        )
    return str(job.worker)


# Jobs that nobody holds and that have failed or been doubtful too often, with their attempts. Where a
# lease ran out its worker died: that try is doubtful too.
_WORN_OUT = """
SELECT job_id, attempt FROM (
    SELECT *, coalesce(doubtful, 0) + (state = 'leased')::INTEGER AS doubts FROM jobs
    WHERE state = 'open' OR (state = 'leased' AND lease_until <= ?))
WHERE attempt - coalesce(postponed, 0) - doubts >= ? OR doubts >= ?
"""
_REOPEN = """
UPDATE jobs SET state = 'open', worker = NULL, lease_until = NULL, error = ?,
       doubtful = coalesce(doubtful, 0) + ?, postponed = coalesce(postponed, 0) + ?
WHERE job_id = ?
"""


def _planned(con: Connection, job_id: str) -> list[str]:
    """Edits of a job that nobody has withdrawn or ended since it was planned."""
    return column(
        con.execute(
            "SELECT j.edit_id FROM job_edits j JOIN edit_states s USING (edit_id) "
            "WHERE j.job_id = ? AND j.role = 'edit' AND s.state = 'planned' AND s.job_id = ?",
            [job_id, job_id],
        )
    )


def _give_up(con: Connection, job_id: str, error: str, at: datetime) -> None:
    planned = _planned(con, job_id)
    by = states.Provenance(at, "plan")
    states.move(con, planned, states.REJECTED, f"job failed: {error}", by)
    con.execute(
        "UPDATE jobs SET state = 'failed', finished_at = ?, error = ?, lease_until = NULL "
        "WHERE job_id = ?",
        [at, error[:2000], job_id],
    )
