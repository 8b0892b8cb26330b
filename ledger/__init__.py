"""What happened: every input line, edit, job, version and verdict, in one DuckDB file."""

from ledger.decisions import ACTIONS, Action, Change, Decided, Decision
from ledger.deduplication import Question
from ledger.errors import (
    ChampionMoved,
    FileMoved,
    IllegalTransition,
    LeaseLost,
    LedgerBusy,
    LedgerError,
    LedgerTooNew,
    LedgerTooOld,
    NotALedger,
    UnknownId,
)
from ledger.ledger import Ledger
from ledger.triage import Comment, Unanswered
from ledger.types import (
    NOTHING_TO_CORRECT,
    Backlog,
    Champion,
    ChunkResult,
    ConflictRecord,
    Counts,
    EditRecord,
    Event,
    FileRecord,
    IntakeRules,
    Job,
    Limits,
    LocalityProbe,
    Mapping,
    ProbeRecord,
    Quarantined,
    RelationTemplates,
    SourceRule,
    SourceState,
    SuiteVerdict,
    Transition,
    VersionRecord,
)
from ledger.write_backs import WriteBack

__all__ = [
    "ACTIONS", "NOTHING_TO_CORRECT", "Action", "Backlog", "Champion", "ChampionMoved", "Change",
    "ChunkResult", "Comment", "ConflictRecord", "Counts", "Decided", "Decision", "EditRecord", "Event",
    "FileMoved", "FileRecord", "IllegalTransition", "IntakeRules", "Job", "LeaseLost", "Ledger",
    "LedgerBusy", "LedgerError", "LedgerTooNew", "LedgerTooOld", "Limits", "LocalityProbe", "Mapping",
    "NotALedger", "ProbeRecord", "Quarantined", "Question", "RelationTemplates", "SourceRule",
    "SourceState", "SuiteVerdict", "Transition", "Unanswered", "UnknownId", "VersionRecord", "WriteBack",
]  # fmt: skip
