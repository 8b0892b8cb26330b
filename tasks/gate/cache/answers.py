"""What was generated once is never generated again: texts, samples and likelihoods by (probe, block).

    answers.sqlite   scopes       everything else that an answer depends on, spelled out, and its number
                     texts        scope, probe hash, block content hash ("" is the backbone alone)
                                  -> text, how far it goes, checksum
                     samples      the same and the number of the draw -> text, checksum
                     likelihoods  the same and the hash of the text   -> number, checksum
    answers.keys/    keys of prompts, see `tasks.gate.cache.keys`
    answers.routes/  routes of prompts in each version, see `tasks.gate.router`

An answer depends on the probe and the block that acts on it, and on nothing else of a version. The
scope names the rest: weights, tokenizer, generation settings, number format, kind of device, torch.
Any number of processes may read and write. A row whose checksum does not fit is never used.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.gate.errors import CacheError

BASE = ""  # the block of a prompt that no edit is about
Pair = tuple[bytes, str]  # probe hash, block content hash
End = Literal["whole", "departed", "looped", "cut", "long"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS scopes (
    id INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS texts (
    scope INTEGER NOT NULL, probe BLOB NOT NULL, block TEXT NOT NULL,
    text TEXT NOT NULL, ended TEXT NOT NULL, checksum BLOB NOT NULL,
    PRIMARY KEY (scope, probe, block)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS samples (
    scope INTEGER NOT NULL, probe BLOB NOT NULL, block TEXT NOT NULL, draw INTEGER NOT NULL,
    text TEXT NOT NULL, checksum BLOB NOT NULL,
    PRIMARY KEY (scope, probe, block, draw)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS likelihoods (
    scope INTEGER NOT NULL, probe BLOB NOT NULL, block TEXT NOT NULL, said BLOB NOT NULL,
    value REAL NOT NULL, checksum BLOB NOT NULL,
    PRIMARY KEY (scope, probe, block, said)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Text:
    """A model's answer, as far as it was decoded.

    ended: whole; departed: cut at the first token that its reference lacks; looped: cut at the second
    turn of a loop; cut: enough of it to be shown; long: enough to be measured.
    """

    text: str
    ended: End = "whole"

    @property
    def whole(self) -> bool:
        return self.ended == "whole"

    def decides(self, reference: str | None) -> bool:
        """Whether this is enough to tell if the answer is `reference`; None: all of it is wanted.

        A loop goes on as it is: there is no more to know of it.
        """
        if reference is None:
            return self.ended in ("whole", "looped")
        return self.whole or not reference.startswith(self.text)

    def agrees_with(self, other: Text) -> bool:
        """Whether both may be the same answer, each as far as it goes."""
        if self.whole and other.whole:
            return self.text == other.text
        short, long = sorted((self.text, other.text), key=len)
        return long.startswith(short)


@dataclass(frozen=True, slots=True)
class CachedTexts:
    """What a look-up gave: texts, and the pairs whose row was tampered with or damaged."""

    texts: dict[Pair, Text]
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

    def texts(self, scope: int, pairs: Iterable[Pair]) -> CachedTexts:
        """The cached texts of these pairs."""
        texts: dict[Pair, Text] = {}
        damaged: set[Pair] = set()
        with self._lock, self._connection as con:
            con.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (probe BLOB, block TEXT)")
            con.execute("DELETE FROM wanted")
            con.executemany("INSERT INTO wanted VALUES (?, ?)", pairs)
            rows = con.execute(
                "SELECT a.probe, a.block, a.text, a.ended, a.checksum FROM wanted w "
                "CROSS JOIN texts a ON a.scope = ? AND a.probe = w.probe AND a.block = w.block",
                [scope],
            )
            for probe, block, text, ended, checksum in rows:
                pair = (bytes(probe), str(block))
                if checksum == checksum_of(scope, pair, ended, text):
                    texts[pair] = Text(text, ended)
                else:
                    damaged.add(pair)
        return CachedTexts(texts, frozenset(damaged))

    def put_texts(self, scope: int, texts: Mapping[Pair, Text]) -> None:
        """Keep texts; what was there for the same pair gives way."""
        rows = [
            (scope, *pair, t.text, t.ended, checksum_of(scope, pair, t.ended, t.text))
            for pair, t in texts.items()
        ]
        with self._lock, self._connection as con:
            con.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?, ?, ?, ?, ?)", rows)

    def drop_text(self, scope: int, pair: Pair) -> None:
        """Drop a text that turned out to be wrong."""
        with self._lock, self._connection as con:
            con.execute(
                "DELETE FROM texts WHERE scope = ? AND probe = ? AND block = ?", [scope, *pair]
            )

    def samples(self, scope: int, pair: Pair) -> list[str]:
        """The draws of a pair, from the first on, as far as they are cached."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT draw, text, checksum FROM samples WHERE scope = ? AND probe = ? "
                "AND block = ? ORDER BY draw",
                [scope, *pair],
            ).fetchall()
        samples: list[str] = []
        for draw, text, checksum in rows:
            if draw != len(samples) or checksum != checksum_of(scope, pair, draw, text):
                break
            samples.append(text)
        return samples

    def put_samples(self, scope: int, draw: int, texts: Mapping[Pair, str]) -> None:
        """Keep one draw of each pair."""
        rows = [
            (scope, *pair, draw, text, checksum_of(scope, pair, draw, text))
            for pair, text in texts.items()
        ]
        with self._lock, self._connection as con:
            con.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?, ?, ?)", rows)

    def likelihood(self, scope: int, pair: Pair, text_hash: bytes) -> float | None:
        """How likely a text is, None where that is not known. text_hash: of the text."""
        with self._lock:
            row = self._connection.execute(
                "SELECT value, checksum FROM likelihoods "
                "WHERE scope = ? AND probe = ? AND block = ? AND said = ?",
                [scope, *pair, text_hash],
            ).fetchone()
        if row is None or row[1] != checksum_of(scope, pair, text_hash, row[0]):
            return None
        return float(row[0])

    def put_likelihood(self, scope: int, pair: Pair, text_hash: bytes, value: float) -> None:
        with self._lock, self._connection as con:
            con.execute(
                "INSERT OR REPLACE INTO likelihoods VALUES (?, ?, ?, ?, ?, ?)",
                [scope, *pair, text_hash, value, checksum_of(scope, pair, text_hash, value)],
            )


def checksum_of(scope: int, pair: Pair, *content: object) -> bytes:
    """The checksum that a row must have."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(b"%d|" % scope)
    digest.update(pair[0])
    digest.update(f"|{pair[1]}|{content!r}".encode("utf-8", "surrogatepass"))
    return digest.digest()
