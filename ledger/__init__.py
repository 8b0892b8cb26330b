"""What happened: every input line, edit, job, version and verdict, in one DuckDB file."""

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
from ledger.likeness import Question
from ledger.types import (
    NOTHING_TO_CORRECT,
    Backlog,
    Champion,
    ChunkResult,
    Contest,
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

__all__ = [
    "NOTHING_TO_CORRECT", "Backlog", "Champion", "ChampionMoved", "ChunkResult", "Contest",
    "Counts", "Edit", "Event", "FileMoved", "FileRecord", "IllegalTransition", "IntakeRules",
    "Job", "LeaseLost", "Ledger", "LedgerBusy", "LedgerError", "LedgerTooNew", "LedgerTooOld",
    "Limits", "Locality", "Mapping", "NotALedger", "ProbeResult", "Quarantined", "Question",
    "RelationTemplates", "SourceRule", "SourceState", "SuiteVerdict", "Transition", "UnknownId",
    "Version",
]  # fmt: skip
