"""Prefect and MLflow on a real PostgreSQL, by one setting."""

from __future__ import annotations

import os

import psutil
import pytest

from config import Settings
from execution.context import open_ledger
from tests.conftest import report, write_lines
from tests.e2e.postgresql import postgresql, programs
from tests.e2e.services import logs, melo, until, up

PASSWORD = "pw-2c4e6a8b0d"


@pytest.mark.slow
def test_one_setting_puts_prefect_and_mlflow_on_postgresql(home: Settings) -> None:
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not here and can't be installed: no apt-get, or not root")
    with postgresql(found, PASSWORD) as url, up(home, f'\n[database]\nurl = "{url}"\n'):
        write_lines(home.paths.inbox / "later.part", [report(0, urgent=True)])
        os.replace(home.paths.inbox / "later.part", home.paths.inbox / "reports.jsonl")
        ledger = open_ledger(home)
        assert until(lambda: ledger.counts().counts == {"active": 1}), logs(home)
        assert melo(home, "ask", "who leads velandor ?").stdout.strip() == "ada"
        assert _count(f"{url}_prefect", "flow_run") > 0
        assert _count(f"{url}_mlflow", "model_versions") == 1
        assert not (home.home / "prefect" / "prefect.db").exists()
        assert "well" in melo(home, "doctor").stdout
        for log in (home.home / "logs").glob("*.log"):
            assert PASSWORD not in log.read_text(errors="replace"), log.name
        for process in psutil.process_iter(["cmdline"]):
            assert PASSWORD not in " ".join(process.info["cmdline"] or ())


def test_a_server_that_is_away_is_one_line_without_the_password(home: Settings) -> None:
    with (home.home / "melo.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[database]\nurl = "postgresql://melo:{PASSWORD}@127.0.0.1:1/melo"\n')
    done = melo(home, "up")
    assert done.returncode == 2
    assert "127.0.0.1:1/melo can't be reached" in done.stderr
    assert PASSWORD not in done.stderr + done.stdout


def _count(url: str, table: str) -> int:
    import psycopg2

    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM "{table}"')
        (count,) = cursor.fetchone()
    connection.close()
    return int(count)
