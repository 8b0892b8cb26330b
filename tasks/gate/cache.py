"""Answers by (probe, block content): what was generated once is never generated again.

    answers.sqlite   scopes   everything else that an answer depends on, spelled out, and its number
                     answers  scope, probe hash, block content hash ("" is the backbone alone)
                              -> answer, checksum
    answers.keys/    keys of prompts on each backbone, see `keys`
    answers.routes/  routes of prompts in each version, see `routing`

An answer depends on the probe and the block that acts on it, and on nothing else of a version. The
scope names the rest: weights, tokenizer, generation settings, number format, kind of device, torch.
Any number of processes may read and write. A row whose checksum does not fit is never used.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.gate.errors import CacheError

BASE = ""  # the block of a prompt that no edit is about
Pair = tuple[bytes, str]  # probe hash, block content hash

_SCHEMA = """
CREATE TABLE IF NOT EXISTS scopes (
    id INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS answers (
    scope INTEGER NOT NULL, probe BLOB NOT NULL, block TEXT NOT NULL,
    answer TEXT NOT NULL, checksum BLOB NOT NULL,
    PRIMARY KEY (scope, probe, block)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up gave: answers, and the pairs whose row was tampered with or damaged."""

    answers: dict[Pair, str]
    damaged: frozenset[Pair]


class AnswerCache:
    """Open with `AnswerCache.open(path)`; close it, or use it in a `with` statement."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self.path = path

    @classmethod
    def open(cls, path: str | Path) -> AnswerCache:
        """Open or create. Raises CacheError where the file is something else."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(path, timeout=120, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise CacheError(
                f'"{path}" is no answer cache ({error}). Remove it, or set another path.'
            ) from None
        return cls(connection, path)

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    @property
    def keys_folder(self) -> Path:
        """Where keys of prompts are kept."""
        return self.path.with_suffix(".keys")

    @property
    def routes_folder(self) -> Path:
        """Where routes of prompts are kept."""
        return self.path.with_suffix(".routes")

    def scope(self, content: str) -> int:
        """The number of a scope, given out on first use."""
        with self._lock, self._connection as con:
            con.execute("INSERT OR IGNORE INTO scopes (content) VALUES (?)", [content])
            row = con.execute("SELECT id FROM scopes WHERE content = ?", [content]).fetchone()
        return int(row[0])

    def get(self, scope: int, pairs: Iterable[Pair]) -> Found:
        """What is known of these pairs."""
        answers: dict[Pair, str] = {}
        damaged: set[Pair] = set()
        with self._lock, self._connection as con:
            con.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (probe BLOB, block TEXT)")
            con.execute("DELETE FROM wanted")
            con.executemany("INSERT INTO wanted VALUES (?, ?)", pairs)
            rows = con.execute(
                "SELECT a.probe, a.block, a.answer, a.checksum FROM wanted w CROSS JOIN answers a "
                "ON a.scope = ? AND a.probe = w.probe AND a.block = w.block",
                [scope],
            )
            for probe, block, answer, checksum in rows:
                pair = (bytes(probe), str(block))
                if checksum == _checksum(scope, pair, answer):
                    answers[pair] = answer
                else:
                    damaged.add(pair)
        return Found(answers, frozenset(damaged))

    def put(self, scope: int, answers: Mapping[Pair, str]) -> None:
        """Keep answers; what was there for the same pair gives way."""
        rows = [
            (scope, probe, block, answer, _checksum(scope, (probe, block), answer))
            for (probe, block), answer in answers.items()
        ]
        with self._lock, self._connection as con:
            con.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", rows)

    def count(self, scope: int | None = None) -> int:
        """Rows, in one scope or in all."""
        with self._lock:
            row = self._connection.execute(
                "SELECT count(*) FROM answers WHERE ? IS NULL OR scope = ?", [scope, scope]
            ).fetchone()
        return int(row[0])

    def forget_blocks(self, kept: Sequence[str]) -> int:
        """Drop the answers of all blocks but these (the backbone's own stay); returns how many."""
        with self._lock, self._connection as con:
            con.execute("CREATE TEMP TABLE IF NOT EXISTS kept (block TEXT PRIMARY KEY)")
            con.execute("DELETE FROM kept")
            con.executemany("INSERT OR IGNORE INTO kept VALUES (?)", [(b,) for b in (BASE, *kept)])
            done = con.execute("DELETE FROM answers WHERE block NOT IN (SELECT block FROM kept)")
        return int(done.rowcount)


def _checksum(scope: int, pair: Pair, answer: object) -> bytes:
    digest = hashlib.blake2b(digest_size=8)
    digest.update(b"%d|" % scope)
    digest.update(pair[0])
    digest.update(f"|{pair[1]}|{answer}".encode("utf-8", "surrogatepass"))
    return digest.digest()
