"""Blocks act on their rows alone, and what is saved is what was made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from artifacts.hashing import file_hash
from melo_engine.blocks import BLOCKS_FILE, KEYS_FILE, Shard, gather
from melo_engine.errors import VersionError
from melo_engine.runtime import apply_blocks

IN, OUT = 5, 7


def shard(count: int, rank: int, seed: int = 0) -> Shard:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(count, IN, rank, generator=generator)
    b = torch.randn(count, rank, OUT, generator=generator)
    keys = torch.randn(count, 3, generator=generator).numpy()
    return Shard.from_tensors([(a, b)], keys)


def rewrite(folder: Path, name: str, tensors: dict[str, torch.Tensor | None]) -> None:
    """Change tensors of a saved shard, None to leave them out, and its checksums with them."""
    content = {**load_file(folder / name), **tensors}
    save_file({k: v for k, v in content.items() if v is not None}, folder / name)
    sums = {file: file_hash(folder / file) for file in (BLOCKS_FILE, KEYS_FILE)}
    (folder / "sha256.json").write_text(json.dumps(sums))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 1), st.integers(0, 3))), max_size=9),
    st.integers(1, 3),
    st.booleans(),
)
def test_each_row_gets_its_own_block_and_others_are_left_to_the_bit(
    rows: list[tuple[int, int] | None], copies: int, flat: bool
) -> None:
    shards = [shard(4, 2, seed=1), shard(4, 5, seed=2)]
    places = [(shards[row[0]], row[1]) if row else None for row in rows]
    blocks = gather(places, torch.device("cpu"), torch.float32)
    if not any(places):
        assert blocks is None
        return
    shape = (len(rows) * copies,) if flat else (len(rows) * copies, 3)
    x, y = torch.randn(*shape, IN), torch.randn(*shape, OUT)
    before = y.clone()
    found = apply_blocks(x, y, blocks, 0)
    assert torch.equal(y, before)
    for i, place in enumerate(place for place in places for _ in range(copies)):
        if place is None:
            assert torch.equal(found[i], y[i])
        else:
            a, b = place[0].pairs[0]
            expected = y[i] + x[i] @ a[place[1]] @ b[place[1]]
            assert torch.allclose(found[i], expected, atol=1e-4)


def test_a_saved_shard_is_the_one_that_was_made(tmp_path: Path) -> None:
    made = shard(4, 2)
    made.save(tmp_path)
    opened = Shard.open(tmp_path, made.name)
    assert np.array_equal(opened.keys, made.keys)
    assert (len(opened), opened.rank) == (4, 2)
    assert opened.parameters_per_block == 2 * (IN + OUT)
    assert [opened.block_hash(i) for i in range(4)] == [made.block_hash(i) for i in range(4)]
    made.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [made.name]


@pytest.mark.parametrize("name", [BLOCKS_FILE, KEYS_FILE, "sha256.json"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_saving_replaces_a_damaged_shard(tmp_path: Path, name: str, how: str) -> None:
    made = shard(4, 2)
    file = made.save(tmp_path) / name
    if how == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    else:
        file.unlink()
    made.save(tmp_path)
    assert Shard.open(tmp_path, made.name).block_hash(3) == made.block_hash(3)
    assert [p.name for p in tmp_path.iterdir()] == [made.name]


def test_a_whole_shard_is_not_written_again(tmp_path: Path) -> None:
    made = shard(4, 2)
    before = (made.save(tmp_path) / BLOCKS_FILE).stat().st_ino
    opened = Shard.open(tmp_path, made.name)
    for again in (made, opened, shard(4, 2)):
        assert (again.save(tmp_path) / BLOCKS_FILE).stat().st_ino == before
    assert opened._pairs is None


def test_the_name_of_a_shard_is_its_content() -> None:
    assert shard(4, 2).name == shard(4, 2).name
    assert shard(4, 2).name != shard(4, 2, seed=9).name


@pytest.mark.parametrize("name", [BLOCKS_FILE, KEYS_FILE])
def test_a_damaged_shard_is_refused(tmp_path: Path, name: str) -> None:
    made = shard(4, 2)
    file = made.save(tmp_path) / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(VersionError, match=rf"{name}\" is damaged"):
        Shard.open(tmp_path, made.name).block_hash(0)


@pytest.mark.parametrize(
    ("name", "tensor"), [(BLOCKS_FILE, "A.0"), (BLOCKS_FILE, "B.0"), (KEYS_FILE, "keys")]
)
def test_other_content_under_the_name_of_a_shard_is_refused_whatever_the_checksums_say(
    tmp_path: Path, name: str, tensor: str
) -> None:
    made = shard(4, 2)
    folder = made.save(tmp_path)
    rewrite(folder, name, {tensor: load_file(folder / name)[tensor] + 1})
    opened = Shard.open(tmp_path, made.name)
    with pytest.raises(VersionError, match="is damaged"):
        opened.block_hash(0)


@pytest.mark.parametrize("tensors", [{"B.0": None}, {"B.0": torch.zeros(3, 2, OUT)}])
def test_blocks_that_do_not_fit_each_other_are_refused(tmp_path: Path, tensors: dict) -> None:
    made = shard(4, 2)
    rewrite(made.save(tmp_path), BLOCKS_FILE, tensors)
    with pytest.raises(VersionError, match="is damaged"):
        Shard.open(tmp_path, made.name).block_hash(0)


def test_a_shard_is_refused_where_another_block_lies_in_a_row(tmp_path: Path) -> None:
    made = shard(4, 2)
    made.save(tmp_path)
    known = [(row, made.block_hash(row)) for row in range(4)]
    assert len(Shard.open(tmp_path, made.name, known).pairs) == 1
    opened = Shard.open(tmp_path, made.name, [(0, known[1][1])])
    with pytest.raises(VersionError, match=r"has no block .* in row 0"):
        opened.pairs  # noqa: B018
    with pytest.raises(VersionError, match=r"has no block .* in row 4"):
        Shard.open(tmp_path, made.name, [(4, known[0][1])])


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(VersionError, match='shard "gone" is missing'):
        Shard.open(tmp_path, "gone")
