"""Keys of probes: read from the backbone once, then from disk.

    <folder>/<encoder>-<projection>-<scheme>/<sha256>.safetensors
                          probes (n, 16) uint8, keys (n, K) float32

A file's name is the hash of its bytes, so a damaged one is known and left aside. Files are only
ever added, each whole, so any number of processes may read and write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from artifacts.atomic import write_atomically
from melo_engine import Editor
from melo_engine.keys import Names
from melo_engine.schemes import KEYS
from tasks.gate.types import probe_hash

CHUNK = 8192  # prompts read between two writes, so that a stopped run goes on where it was


class ProbeKeys:
    """Keys of prompts on the backbone and projection of one editor."""

    def __init__(self, editor: Editor, folder: Path) -> None:
        self._reader = editor.reader
        self._rows: dict[bytes, tuple[int, int]] = {}
        self._parts: list[np.ndarray] = []
        parts = (
            editor.reader.encoder.content_hash,
            editor.version.projection_hash,
            f"scheme{KEYS}",
        )
        name = "-".join(part[:16] for part in parts)
        self._folder = folder / name
        self._loaded = False

    def of(self, prompts: Sequence[str], names: Names | None = None) -> np.ndarray:
        """Keys (N, K) float32 of prompts, in their order. names: left out, see `KeyReader.read`."""
        self._load()
        pairs = list(zip(prompts, names or [None] * len(prompts), strict=True))
        hashes = [_pair_hash(*pair) for pair in pairs]
        missing = list(
            {h: pair for h, pair in zip(hashes, pairs, strict=True) if h not in self._rows}.items()
        )
        for start in range(0, len(missing), CHUNK):
            self._add(missing[start : start + CHUNK])
        keys = np.empty((len(prompts), self._reader.projection.size), dtype=np.float32)
        for i, pair_hash in enumerate(hashes):
            part, row = self._rows[pair_hash]
            keys[i] = self._parts[part][row]
        return keys

    def _add(self, missing: Sequence[tuple[bytes, tuple[str, str | None]]]) -> None:
        keys = self._reader.read([p for _, (p, _) in missing], [n for _, (_, n) in missing])
        names = np.frombuffer(b"".join(name for name, _ in missing), dtype=np.uint8)
        self._append(names.reshape(-1, 16), keys)
        data = save({"probes": names.reshape(-1, 16).copy(), "keys": np.ascontiguousarray(keys)})
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{hashlib.sha256(data).hexdigest()}.safetensors"
        write_atomically(path, data)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        for path in sorted(self._folder.glob("*.safetensors")):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != path.stem:
                continue
            try:
                tensors = load(data)
            except SafetensorError:
                continue
            self._append(tensors["probes"], tensors["keys"])

    def _append(self, names: np.ndarray, keys: np.ndarray) -> None:
        part = len(self._parts)
        self._parts.append(keys)
        joined = np.ascontiguousarray(names).tobytes()
        for row in range(len(keys)):
            self._rows[joined[16 * row : 16 * row + 16]] = (part, row)


def _pair_hash(prompt: str, name: str | None) -> bytes:
    return probe_hash(prompt if name is None else f"{prompt}\x1f{name}")
