"""Bearer keys with scopes. The file holds hashes; a key itself is shown once, when it is made.

    melo-<id>-<secret>      HOME/keys.json: id, name, sha256 of the key, scopes, made, ends, revoked

A secret has 256 random bits, so a plain hash of it can't be turned back.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from artifacts.atomic import write_durably
from serving.errors import KeyProblem

Scope = Literal["ask", "report", "review", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
log = logging.getLogger("melo.serving")
LOOK_EVERY = 1.0  # seconds until a change of the file is seen


@dataclass(frozen=True)
class Key:
    """One key on record. Times are ISO 8601, UTC."""

    id: str
    name: str
    sha256: str
    scopes: tuple[str, ...]
    made: str
    ends: str | None = None
    revoked: str | None = None

    @property
    def valid(self) -> bool:
        """Neither revoked nor past its end."""
        return self.revoked is None and (self.ends is None or _now() < self.ends)

    def allows(self, scope: Scope) -> bool:
        """admin may do everything."""
        return scope in self.scopes or "admin" in self.scopes


class KeyStore:
    """The keys of one home."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_state: tuple[int, int, int] | None = None
        self._looked = -LOOK_EVERY
        self._keys: dict[str, Key] = {}

    def add(self, name: str, scopes: Sequence[str], days: int | None = None) -> tuple[Key, str]:
        """Make a key; the second value is the key itself. Raises KeyProblem."""
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise KeyProblem(
                f"scope {unknown[0] if unknown else 'none'}: allowed are {', '.join(SCOPES)}."
            )
        if not name.strip() or not name.isprintable() or len(name) > 80:
            raise KeyProblem(f"name {name!r}: give one to eighty printable characters.")
        now = datetime.now(UTC)
        identity = secrets.token_hex(6)
        key = f"melo-{identity}-{secrets.token_urlsafe(32)}"
        ends = (now + timedelta(days=days)).isoformat() if days else None
        entry = Key(identity, name, _hash(key), tuple(scopes), now.isoformat(), ends)
        self._change(lambda keys: {**keys, identity: entry})
        return entry, key

    def entries(self) -> list[Key]:
        """All keys, revoked ones too, oldest first. Raises KeyProblem."""
        return sorted(self._read().values(), key=lambda key: key.made)

    def revoke(self, name: str) -> list[Key]:
        """Revoke the key of this id, or all of this name. Raises KeyProblem where there is none."""
        gone: list[Key] = []

        def without(keys: dict[str, Key]) -> dict[str, Key]:
            named = {k: key for k, key in keys.items() if name in (k, key.name)}
            left = {k: replace(key, revoked=_now()) for k, key in named.items() if not key.revoked}
            if not left:
                why = "is revoked already" if named else "is not known. See `melo keys list`"
                raise KeyProblem(f'key "{name}" {why}.')
            gone.extend(left.values())
            return {**keys, **left}

        self._change(without)
        return gone

    def find(self, key: str) -> Key | None:
        """The valid entry of a key, None where there is none. The file is looked at once a second."""
        if time.monotonic() - self._looked >= LOOK_EVERY:
            self._looked = time.monotonic()
            state = self._state()
            if state != self._read_state:
                self._read_state, self._keys = state, self._read_or_none()
        parts = key.split("-", 2)
        entry = self._keys.get(parts[1]) if len(parts) == 3 else None
        if entry is None or not hmac.compare_digest(entry.sha256, _hash(key)):
            return None
        return entry if entry.valid else None

    def _change(self, change: Callable[[dict[str, Key]], dict[str, Key]]) -> None:
        """Read, change and write under a lock: two commands at once lose nothing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with (self.path.parent / f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = change(self._read())
            content = json.dumps([asdict(key) for key in keys.values()], indent=1)
            write_durably(self.path, content, mode=0o600)

    def _read(self) -> dict[str, Key]:
        try:
            rows = json.loads(self.path.read_text(encoding="utf-8"))
            keys = [Key(**{**row, "scopes": tuple(row["scopes"])}) for row in rows]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise KeyProblem(f"{self.path} can't be read: {error}. Restore it.") from None
        return {key.id: key for key in keys}

    def _read_or_none(self) -> dict[str, Key]:
        """A file that can't be read lets nobody in."""
        try:
            return self._read()
        except KeyProblem as error:
            log.error("%s", error)
            return {}

    def _state(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat()
