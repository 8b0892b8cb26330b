"""What people ask of the record, answered from its published copy: aggregates, a file a page.

    ReadCopy.open() ──► connection ──► overview, waiting, versions, edits, routing, costs

Nothing here writes. Each query is one SQL statement that aggregates before it hands rows over, so
that a page costs the same for a thousand edits and for a hundred thousand.
"""

from ledger.insight.readcopy import ReadCopy

__all__ = ["ReadCopy"]
