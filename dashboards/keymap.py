"""A map of a version's keys, read from its files as data: no model, no engine.

    manifest.json ─► shards/<hash>/keys.safetensors  (n, K)  ─┬─ relation part: edits bound to a subject
    edits.parquet ─► shard, row, radius, subject              └─ content part: edits bound to none

Distances are Euclidean between unit vectors, 0 to 2, in the part that decides for an edit. The map is
their two main directions (PCA), fitted on a sample: what lies together there asks alike.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from dashboards.errors import VersionAway

SHOWN = 1500  # points on the map
FITTED = 4000  # keys that the directions are found from
PAIRS = 200  # crowding pairs listed
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class KeyMap:
    """points: edit, x, y, radius, subject, bound, crowd (how many keys lie within its radius).

    pairs: edit, other, distance, radius, other_radius, subject: edits within each other's reach.
    explained: share of the keys' variance that the two directions hold.
    """

    points: pa.Table
    pairs: pa.Table
    edits: tuple[str, ...]
    crowded: int
    explained: float


def read_map(versions: Path, version: str) -> KeyMap:
    """The map of a version. Raises VersionAway where its files are not here or can't be read."""
    table, keys, hidden = _read(versions, version)
    ids = tuple(table["id"].to_pylist())
    radius = table["radius"].to_numpy()
    subjects = table["subject"].to_pylist()
    if not ids:
        return KeyMap(_points([], [], [], [], [], []), _pairs([]), (), 0, 0.0)
    relation, content = keys[:, :-hidden], keys[:, -hidden:]
    bound = np.array([s is not None for s in subjects])
    deciding = relation if bound.mean() >= 0.5 else content
    pairs, crowd = _crowding(relation, content, radius, subjects, bound)
    chosen = _sample(len(ids), crowd)
    xy, explained = _plane(deciding, chosen)
    points = _points(
        [ids[i] for i in chosen],
        xy,
        radius[chosen],
        [subjects[i] for i in chosen],
        bound[chosen],
        crowd[chosen],
    )
    rows = [
        (ids[a], ids[b], d, radius[a], radius[b], subjects[a])
        for d, a, b in sorted(pairs, key=lambda p: p[0] / max(radius[p[1]], radius[p[2]]))[:PAIRS]
    ]
    return KeyMap(points, _pairs(rows), ids, int((crowd > 0).sum()), explained)


def read_radius(versions: Path, version: str, edit: str) -> float | None:
    """How far an edit reaches in a version, None where it is not in it. Raises VersionAway."""
    path = versions / version / "edits.parquet"
    try:
        rows = pq.read_table(path, columns=["radius"], filters=[("id", "=", edit)])
    except (OSError, pa.ArrowException) as error:
        raise VersionAway(_message(versions, version, error)) from None
    return float(rows["radius"][0].as_py()) if rows.num_rows else None


def _read(versions: Path, version: str) -> tuple[pa.Table, Array, int]:
    folder = versions / version
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        table = pq.read_table(
            folder / "edits.parquet", columns=["id", "subject", "shard", "row", "radius"]
        )
        with safe_open(folder / "projection.safetensors", "np") as file:
            hidden = int(file.get_slice("mean").get_shape()[0])
        keys: Array | None = None
        shards, rows = table["shard"].to_numpy(zero_copy_only=False), table["row"].to_numpy()
        for name in manifest["shards"]:
            with safe_open(versions / "shards" / name / "keys.safetensors", "np") as file:
                shard_keys = file.get_tensor("keys")  # (n, K)
            if keys is None:
                keys = np.zeros((table.num_rows, shard_keys.shape[1]), np.float32)
            in_shard = shards == name
            keys[in_shard] = shard_keys[rows[in_shard]]
    except (OSError, ValueError, KeyError, IndexError, SafetensorError, pa.ArrowException) as error:
        raise VersionAway(_message(versions, version, error)) from None
    return table, np.zeros((0, hidden)) if keys is None else keys, hidden


def _crowding(
    relation: Array, content: Array, radius: Array, subjects: list[str | None], bound: Array
) -> tuple[list[tuple[float, int, int]], Array]:
    """Pairs within the larger of their radii: of one subject, or both bound to none."""
    groups: dict[str | None, list[int]] = {}
    for place, subject in enumerate(subjects):
        groups.setdefault(subject.casefold() if subject else None, []).append(place)
    pairs: list[tuple[float, int, int]] = []
    crowd = np.zeros(len(subjects), np.int64)
    for subject, members in groups.items():
        if len(members) < 2:
            continue
        part = (content if subject is None else relation)[members[:2000]]
        near = np.sqrt(np.maximum(0, 2 - 2 * part @ part.T))
        reach = np.maximum.outer(radius[members[:2000]], radius[members[:2000]])
        for a, b in zip(*np.nonzero(np.triu(near <= reach, 1)), strict=True):
            pairs.append((float(near[a, b]), members[a], members[b]))
            crowd[members[a]] += 1
            crowd[members[b]] += 1
    return pairs, crowd


def _sample(count: int, crowd: Array) -> Array:
    """Which keys are drawn: all where they are few; else crowded ones first, then evenly spaced ones."""
    if count <= SHOWN:
        return np.arange(count)
    crowded = np.nonzero(crowd)[0][: SHOWN // 3]
    evenly = np.linspace(0, count - 1, SHOWN - len(crowded)).astype(int)
    return np.unique(np.concatenate([crowded, evenly]))


def _plane(keys: Array, chosen: Array) -> tuple[Array, float]:
    """Coordinates (n, 2) of the chosen keys in the two main directions, and the share these hold."""
    step = max(1, len(keys) // FITTED)
    fitted = keys[::step].astype(np.float64)
    middle = fitted.mean(0)
    spread = (fitted - middle).T @ (fitted - middle)
    values, vectors = np.linalg.eigh(spread)
    top = vectors[:, ::-1][:, :2]
    top = top * np.sign(top[np.abs(top).argmax(0), np.arange(top.shape[1])])  # one of two mirrors
    total = float(values.sum())
    explained = float(values[-2:].sum()) / total if total > 0 else 0.0
    return (keys[chosen] - middle) @ top, explained


def _points(ids: Any, xy: Any, radius: Any, subjects: Any, bound: Any, crowd: Any) -> pa.Table:
    places = np.asarray(xy, np.float64).reshape(-1, 2)
    return pa.table(
        {
            "edit": pa.array(ids, pa.string()),
            "x": places[:, 0],
            "y": places[:, 1],
            "radius": pa.array(radius, pa.float64()),
            "subject": pa.array(subjects, pa.string()),
            "bound": pa.array(bound, pa.bool_()),
            "crowd": pa.array(crowd, pa.int64()),
        }
    )


def _pairs(rows: list[tuple[Any, ...]]) -> pa.Table:
    names = ("edit", "other", "distance", "radius", "other_radius", "subject")
    kinds = (pa.string(), pa.string(), pa.float64(), pa.float64(), pa.float64(), pa.string())
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pa.table(
        {n: pa.array(list(c), k) for n, c, k in zip(names, columns, kinds, strict=True)}
    )


def _message(versions: Path, version: str, error: Exception) -> str:
    where = versions / version
    if not where.is_dir():
        return f"The files of version {version[:12]} are not on this machine ({where})."
    return f"The files of version {version[:12]} can't be read: {str(error)[:200]}"
