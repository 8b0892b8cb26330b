"""Where things are in a home; no path of it is spelled elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Where things are in a home."""

    home: Path
    ledger: Path

    @property
    def settings(self) -> Path:
        """melo.toml."""
        return self.home / "melo.toml"

    @property
    def read_ledger(self) -> Path:
        """The published copy of the ledger, for readers."""
        return self.home / "read" / "ledger.duckdb"

    @property
    def mlflow_db(self) -> Path:
        """MLflow's SQLite store."""
        return self.home / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.home / "artifacts"

    @property
    def versions(self) -> Path:
        """Versions, a folder each."""
        return self.home / "versions"

    @property
    def shards(self) -> Path:
        """The store of blocks and keys that all versions share."""
        return self.versions / "shards"

    def version(self, version: str) -> Path:
        """A version's folder."""
        return self.versions / version

    def report(self, version: str) -> Path:
        """Where a version's gate leaves gate.json and gate.html."""
        return self.home / "reports" / version

    @property
    def suites(self) -> Path:
        """Regression suites of the user's own."""
        return self.home / "suites"

    @property
    def work(self) -> Path:
        """What jobs that run have made so far."""
        return self.home / "work"

    @property
    def cache(self) -> Path:
        """What can be made again: backbones, keys, answers."""
        return self.home / "cache"

    @property
    def inbox(self) -> Path:
        """The watched folder."""
        return self.home / "inbox"

    @property
    def keys(self) -> Path:
        """Hashes of the keys that the service takes."""
        return self.home / "keys.json"

    @property
    def answers(self) -> Path:
        """The gate's cache of answers; keys and routes of prompts lie beside it."""
        return self.cache / "answers.sqlite"

    @property
    def prefect(self) -> Path:
        """Where Prefect keeps what it keeps, and where its server stands."""
        return self.home.absolute() / "prefect"

    def log(self, name: str) -> Path:
        """What a process of this name said."""
        return self.home / "logs" / f"{name}.log"

    def state(self, file: str) -> Path:
        """A file of what runs now: process ids, locks, the place of the home."""
        return self.home / "run" / file

    @property
    def write_back_lock(self) -> Path:
        """Held by the one process that tells sources what serves."""
        return self.home / "write-back.lock"

    @property
    def traffic(self) -> Path:
        """What the service answered, a file a day."""
        return self.home / "traffic"
