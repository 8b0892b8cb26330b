"""Statements that stand in files of their own, ledger/sql/NAME.sql, with the parameters they declare.

    -- What it does.
    -- parameters: $at, $ids                          (left out where there are none)
    SELECT ... WHERE received_at <= $at AND edit_id IN (SELECT unnest($ids::VARCHAR[]))

Values reach a statement as parameters and as nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ledger.store import Connection


@dataclass(frozen=True)
class Statement:
    """One SQL statement and the names of its parameters."""

    name: str
    sql: str
    parameters: frozenset[str]

    def run(self, con: Connection, **values: object) -> Connection:
        """Execute it. Raises TypeError where the values are not those that it declares."""
        if values.keys() != self.parameters:
            raise TypeError(
                f"statement {self.name!r} takes {sorted(self.parameters)}, got {sorted(values)}."
            )
        return con.execute(self.sql, values or None)

    def rows(self, con: Connection, **values: object) -> list[Any]:
        """Execute it and fetch all its rows."""
        rows: list[Any] = self.run(con, **values).fetchall()
        return rows


@cache
def statement(name: str) -> Statement:
    """The statement of a file. Raises ValueError where it declares other parameters than it uses."""
    sql = resources.files("ledger.sql").joinpath(f"{name}.sql").read_text(encoding="utf-8")
    declared = re.search(r"^-- parameters: (.*)$", sql, re.MULTILINE)
    names = set(re.findall(r"\$(\w+)", declared[1])) if declared else set()
    used = set(re.findall(r"\$([a-z]\w*)", re.sub(r"--.*|'[^']*'", "", sql)))
    if names != used:
        raise ValueError(f"{name}.sql declares {sorted(names)} and uses {sorted(used)}.")
    return Statement(name, sql, frozenset(names))
