"""Statements in files of their own: each is called with the parameters that it declares."""

from importlib import resources

import pytest

from ledger import Ledger
from ledger.statements import statement

NAMES = sorted(
    entry.name.removesuffix(".sql")
    for entry in resources.files("ledger.sql").iterdir()
    if entry.name.endswith(".sql")
)


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_declares_the_parameters_that_it_uses(name: str) -> None:
    assert statement(name).name == name


def test_a_statement_refuses_values_that_it_does_not_declare(ledger: Ledger) -> None:
    with (
        ledger.store.read() as con,
        pytest.raises(TypeError, match=r"takes \['no_date'\], got \['date'\]"),
    ):
        statement("contenders").run(con, date=1)
