"""From files, folders and rows to the ledger."""

from tasks.ingest.errors import IngestError
from tasks.ingest.step import FileOutcome, IngestOutcome, ingest_paths, ingest_rows, rules_from

__all__ = [
    "FileOutcome", "IngestError", "IngestOutcome", "ingest_paths", "ingest_rows", "rules_from",
]  # fmt: skip
