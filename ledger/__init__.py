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
    Edit,
    Event,
    FileRecord,
    IntakeRules,
    Job,
    Limits,
    Locality,
    Mapping,
    ProbeResult,
    Quarantined,
    RelationTemplates,
    SourceRule,
    SourceState,
    SuiteVerdict,
    Transition,
    Version,
)
from ledger.write_backs import WriteBack

__all__ = [
    "ACTIONS", "NOTHING_TO_CORRECT", "Action", "Backlog", "Champion", "ChampionMoved", "Change",
    "ChunkResult", "Comment", "ConflictRecord", "Counts", "Decided", "Decision", "Edit", "Event",
    "FileMoved", "FileRecord", "IllegalTransition", "IntakeRules", "Job", "LeaseLost", "Ledger",
    "LedgerBusy", "LedgerError", "LedgerTooNew", "LedgerTooOld", "Limits", "Locality", "Mapping",
    "NotALedger", "ProbeResult", "Quarantined", "Question", "RelationTemplates", "SourceRule",
    "SourceState", "SuiteVerdict", "Transition", "Unanswered", "UnknownId", "Version", "WriteBack",
]  # fmt: skip
