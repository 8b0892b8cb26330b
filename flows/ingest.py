"""Reports and facts into the ledger: given paths, or what lies in the inbox."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.steps import take_in


@flow(name="ingest", description=__doc__)
def ingest(home: str, paths: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Take in what waits; what became of each file."""
    return take_in(home, paths)


if __name__ == "__main__":
    import sys

    ingest(sys.argv[1])
