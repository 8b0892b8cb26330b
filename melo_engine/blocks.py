"""Blocks: a low-rank pair for each target module, stacked over edits and gathered by row.

    x (B, T, in) ──rows──► (R, T, in) @ A (R, in, r) @ B (R, r, out) ──► added to those rows of y

A shard holds the blocks of one rank that were trained together. It is immutable and named by its
content; on disk it is a folder:

    <hash>/blocks.safetensors    A.<i> (n, in, r), B.<i> (n, r, out) for target module i
    <hash>/keys.safetensors      keys (n, K) float32
    <hash>/sha256.json           of both files

Files are mapped into memory. When the first block is used all of them are hashed and compared with the
shard's name, and with the hashes that a version has on record, so opening costs the same for ten blocks
and ten thousand.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from artifacts.atomic import partial_folder, replace_folder
from artifacts.hashing import file_hash
from melo_engine.errors import VersionError

BLOCKS_FILE = "blocks.safetensors"
KEYS_FILE = "keys.safetensors"
SUMS_FILE = "sha256.json"


@dataclass(frozen=True, slots=True)
class GatheredBlocks:
    """Blocks laid out for one batch.

    rows: (R,) int64, ascending; pairs[i]: A (R, in, r), B (R, r, out) of target i. shares: where
    every row has a block and blocks have several rows: (number of blocks, rows of each) for each run
    of blocks with as many rows, in their order; `rows` is not used then.
    """

    rows: Tensor
    batch: int
    pairs: tuple[tuple[Tensor, Tensor], ...]
    shares: tuple[tuple[int, int], ...] = ()

    def select(self, keep: Sequence[int]) -> GatheredBlocks | None:
        """The blocks of some rows of the batch, in this order; None where none of them has one."""
        place_of = {row: place for place, row in enumerate(self.rows.tolist())}
        rows = [i for i, row in enumerate(keep) if row in place_of]
        if not rows:
            return None
        places = torch.tensor([place_of[keep[i]] for i in rows], device=self.rows.device)
        pairs = tuple((a[places], b[places]) for a, b in self.pairs)
        return GatheredBlocks(torch.tensor(rows, device=self.rows.device), len(keep), pairs)


class Shard:
    """Blocks of one rank with their keys. Build with `from_tensors`, read with `open`."""

    def __init__(
        self,
        name: str,
        keys: np.ndarray,
        pairs: list[tuple[Tensor, Tensor]] | None,
        folder: Path | None,
        expected: Sequence[tuple[int, str]] = (),
    ) -> None:
        self.name = name
        self.keys = keys  # (n, K) float32
        self._pairs = pairs
        self.folder = folder
        self._expected = expected

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def rank(self) -> int:
        return int(self.pairs[0][0].shape[2])

    @property
    def parameters_per_block(self) -> int:
        return sum(a[0].numel() + b[0].numel() for a, b in self.pairs)

    @classmethod
    def from_tensors(cls, pairs: Sequence[tuple[Tensor, Tensor]], keys: np.ndarray) -> Shard:
        """pairs[i]: A (n, in, r), B (n, r, out) of target i. keys: (n, K)."""
        on_cpu = [(a.detach().cpu().contiguous(), b.detach().cpu().contiguous()) for a, b in pairs]
        keys = np.ascontiguousarray(keys, dtype=np.float32)
        return cls(_name(_block_hashes(on_cpu, keys)), keys, on_cpu, None)

    @classmethod
    def open(cls, folder: Path, name: str, expected: Sequence[tuple[int, str]] = ()) -> Shard:
        """Map a saved shard. Raises VersionError where files are missing or the keys are damaged.

        expected: rows and the hashes of the blocks that have to lie there, see `block_hash`.
        """
        path = folder / name
        if not (path / BLOCKS_FILE).is_file() or not (path / KEYS_FILE).is_file():
            raise VersionError(
                f'shard "{name}" is missing from "{folder}"; restore it from a backup.'
            )
        if file_hash(path / KEYS_FILE) != _read_sums(path).get(KEYS_FILE):
            raise _damaged(path / KEYS_FILE)
        try:
            with safe_open(path / KEYS_FILE, "np") as file:
                keys = file.get_tensor("keys")
        except SafetensorError:
            raise _damaged(path / KEYS_FILE) from None
        for row, block in expected:
            if not 0 <= row < len(keys):
                raise _missing_block(name, row, block)
        return cls(name, keys, None, path, expected)

    @property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """A (n, in, r), B (n, r, out) of each target.

        Read on first use. Raises VersionError where they are not the blocks that the shard is named
        after, or not those that it was opened for.
        """
        if self._pairs is None:
            assert self.folder is not None
            self._pairs = self._read(self.folder / BLOCKS_FILE)
        return self._pairs

    def _read(self, path: Path) -> list[tuple[Tensor, Tensor]]:
        try:
            tensors = load_file(path)
            count = sum(name.startswith("A.") for name in tensors)
            pairs = [(tensors[f"A.{i}"], tensors[f"B.{i}"]) for i in range(count)]
        except (SafetensorError, KeyError):
            raise _damaged(path) from None
        if any(len(tensor) != len(self.keys) for pair in pairs for tensor in pair):
            raise _damaged(path)
        hashes = _block_hashes(pairs, self.keys)
        if _name(hashes) != self.name:
            raise _damaged(path)
        for row, block in self._expected:
            if hashes[row] != block:
                raise _missing_block(self.name, row, block)
        return pairs

    def block_hash(self, row: int) -> str:
        """sha256 over the row's pairs and key: the name of the block's content."""
        pairs = [(a[row : row + 1], b[row : row + 1]) for a, b in self.pairs]
        return _block_hashes(pairs, self.keys[row : row + 1])[0]

    def save(self, folder: Path) -> Path:
        """Write to folder/<name> unless it lies there whole; a damaged one is replaced.

        Never leaves half a shard behind: it is on disk before it has its name.
        """
        path = folder / self.name
        if path.is_dir() and (self._was_opened_at(path) or _is_intact(path)):
            return path
        partial = partial_folder(path)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        tensors = {}
        for i, (a, b) in enumerate(self.pairs):
            tensors[f"A.{i}"], tensors[f"B.{i}"] = a.contiguous(), b.contiguous()
        save_file(tensors, partial / BLOCKS_FILE)
        save_file({"keys": torch.from_numpy(self.keys)}, partial / KEYS_FILE)
        sums = {name: file_hash(partial / name) for name in (BLOCKS_FILE, KEYS_FILE)}
        (partial / SUMS_FILE).write_text(json.dumps(sums, indent=1, sort_keys=True))
        replace_folder(partial, path)
        return path

    def _was_opened_at(self, path: Path) -> bool:
        """Whether this shard was opened there, so that nothing better could be written."""
        return self.folder is not None and self.folder.resolve() == path.resolve()


def gather(
    places: Sequence[tuple[Shard, int] | None], device: torch.device, dtype: torch.dtype
) -> GatheredBlocks | None:
    """Stack the blocks of a batch. places: for each row its (shard, row in shard), None for no block.

    Blocks of lower rank are padded with zeros. Returns None where no row has a block.
    """
    rows = [i for i, place in enumerate(places) if place is not None]
    if not rows:
        return None
    chosen = [place for place in places if place is not None]
    shards = {id(shard): shard for shard, _ in chosen}
    rank = max(s.rank for s in shards.values())
    order: list[int] = []
    parts: list[list[tuple[Tensor, Tensor]]] = []
    for key, shard in shards.items():
        members = [j for j, (holder, _) in enumerate(chosen) if id(holder) == key]
        index = torch.tensor([chosen[j][1] for j in members])
        order += members
        parts.append([_padded(a[index], b[index], rank) for a, b in shard.pairs])
    back = torch.argsort(torch.tensor(order))
    pairs = []
    for target in range(len(parts[0])):
        a = torch.cat([p[target][0] for p in parts])[back]
        b = torch.cat([p[target][1] for p in parts])[back]
        pairs.append((a.to(device, dtype), b.to(device, dtype)))
    return GatheredBlocks(torch.tensor(rows, device=device), len(places), tuple(pairs))


def _is_intact(path: Path) -> bool:
    try:
        Shard.open(path.parent, path.name).pairs  # noqa: B018  read, and compared with the name
    except VersionError:
        return False
    return True


def _padded(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    missing = rank - a.shape[2]
    if missing == 0:
        return a, b
    return (
        torch.nn.functional.pad(a, (0, missing)),
        torch.nn.functional.pad(b, (0, 0, 0, missing)),
    )


def _block_hashes(pairs: Sequence[tuple[Tensor, Tensor]], keys: np.ndarray) -> list[str]:
    """The hash of each row's pairs and key; see `Shard.block_hash`."""
    parts = []
    for tensor in (t for pair in pairs for t in pair):
        content = tensor.contiguous().flatten(1).view(torch.uint8).numpy()  # (n, bytes)
        parts.append((str((tensor.dtype, tuple(tensor.shape[1:]))).encode(), content))
    hashes = []
    for row, key in enumerate(np.ascontiguousarray(keys)):
        digest = hashlib.sha256()
        for kind, content in parts:
            digest.update(kind)
            digest.update(content[row].data)
        digest.update(key.data)
        hashes.append(digest.hexdigest()[:32])
    return hashes


def _name(hashes: Sequence[str]) -> str:
    """The name of a shard that holds these blocks, in this order."""
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:32]


def _read_sums(path: Path) -> dict[str, str]:
    try:
        sums = json.loads((path / SUMS_FILE).read_text())
    except (OSError, ValueError) as error:
        raise VersionError(f'shard "{path.name}" has no readable checksums: {error}') from None
    return dict(sums)


def _damaged(path: Path) -> VersionError:
    return VersionError(
        f'"{path.parent.name}/{path.name}" is damaged: its content is not the one on record. '
        "Restore it from a backup."
    )


def _missing_block(name: str, row: int, block: str) -> VersionError:
    return VersionError(
        f'shard "{name}" has no block {block[:12]} in row {row}, where the version says it is; '
        "restore the version from a backup."
    )
