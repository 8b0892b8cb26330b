"""From files, folders and rows to the ledger."""

from tasks.ingest.errors import IngestError
from tasks.ingest.inbox import ingest_inbox
from tasks.ingest.step import IngestOptions, ingest_paths, ingest_rows, retry_quarantined
from tasks.ingest.taking import FileOutcome, IngestOutcome, rules_from

__all__ = [
    "FileOutcome",
    "IngestError",
    "IngestOptions",
    "IngestOutcome",
    "ingest_inbox",
    "ingest_paths",
    "ingest_rows",
    "retry_quarantined",
    "rules_from",
]
