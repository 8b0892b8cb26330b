"""Shards of a job on Prefect's Dask task runner."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from config import Settings, load
from execution.context import open_ledger
from tests.conftest import report, write_lines

pytest.importorskip("prefect_dask", reason="Dask is an extra: pip install 'melo-pipeline[dask]'")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_workers_of_a_dask_cluster_make_the_version_that_one_process_makes(
    home: Settings, tmp_path: Path
) -> None:
    from flows.main import main

    given = write_lines(tmp_path / "in.jsonl", [report(i) for i in range(4)])
    champions = []
    for name, more in (("alone", ""), ("dask", 'gpu = 2\nrunner = "dask"\n')):
        shutil.copytree(home.home, tmp_path / name)
        with (tmp_path / name / "melo.toml").open("a", encoding="utf-8") as file:
            file.write(f"\n[workers]\nshard_edits = 2\n{more}")
        result = main(str(tmp_path / name), (str(given),))
        assert [verdict.added for verdict in result["verdicts"]] == [4]
        with open_ledger(load(tmp_path / name)) as ledger:
            champion = ledger.champions.current()
            assert champion is not None
            champions.append(champion.version)
            assert ledger.events.latest(kind="job-failed") == []
    assert champions[0] == champions[1]
