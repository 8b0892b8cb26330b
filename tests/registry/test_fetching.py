"""Versions are fetched from MLflow whole, and what a dead process had fetched is swept."""

from __future__ import annotations

from pathlib import Path

from artifacts.shards import ShardReferences
from config import Settings
from execution.lineage import BASE
from execution.versions import Versions
from melo_engine import Version
from registry.client import open_client
from registry.fetching import fetch_version
from tests.pipeline import dies

DIES = """
import os, sys
from pathlib import Path
import registry.fetching
from config import load
from registry.client import open_client

home, source, version, cache = sys.argv[1:]
registry.fetching.replace_folder = lambda *_: os.kill(os.getpid(), 9)
registry.fetching.fetch_version(open_client(load(home)), source, version, Path(cache))
"""


def test_what_a_process_had_fetched_that_died_is_swept_by_the_next(
    home: Settings, tmp_path: Path
) -> None:
    version = Versions(home).open(BASE)
    source, cache = version.save(tmp_path / "logged" / "version"), tmp_path / "cache"
    ShardReferences((), {}).write(source)
    dies(DIES, str(home.home), str(source), version.id, str(cache))
    assert len(list(cache.glob(".*"))) == 1
    folder = fetch_version(open_client(home), str(source), version.id, cache)
    assert Version.load(folder, shards=cache / "shards").id == version.id
    assert {path.name for path in cache.iterdir()} == {version.id, "shards"}
