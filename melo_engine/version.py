"""A version: the edits that are in force on one backbone. Immutable, named by its content.

On disk, nothing in it can run code:

    <folder>/manifest.json       schema, backbone, tokenizer and encoder hashes, calibration, checksums
            edits.parquet        a row an edit: request, shard and row of its block, radius, wordings
            projection.safetensors
    <shards>/<hash>/...          blocks and keys, shared between versions (see `blocks`)

`shards` is `<folder>/shards` unless another place is given, so a version that adds 50 edits to
10,000 writes the 50.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from artifacts.atomic import partial_folder, replace_folder
from artifacts.errors import ManifestError
from artifacts.hashing import file_hash
from artifacts.manifest import EDITS, MANIFEST, PROJECTION, SCHEMA, read_manifest
from melo_engine.backbone import Backbone
from melo_engine.blocks import Shard
from melo_engine.calibrate import Calibration, question_for
from melo_engine.conversation import Conversation, asked
from melo_engine.errors import UnknownEdit, VersionError
from melo_engine.index import Member, NeuronIndex
from melo_engine.keys import KeyReader
from melo_engine.projection import KeyProjection
from melo_engine.types import EditRequest


@dataclass(frozen=True, slots=True)
class Wording:
    """Another wording of an edit's question. key: (K,) float32, as `KeyReader.read` gives it.

    radius, content_radius: how far this key reaches, see `Edit`.
    """

    text: str
    key: tuple[float, ...] = field(repr=False)
    radius: float
    content_radius: float = 0.0

    @property
    def content_hash(self) -> str:
        content = (self.key, self.radius.hex(), self.content_radius.hex())
        return hashlib.sha256(repr(content).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit in force: its request, where its block lies, and how far its key reaches.

    content_radius: how far it reaches to prompts that name its subject partly. by_question: whether its
    question as a whole may stand for the subject. wordings: of its question beside its own prompt.
    """

    request: EditRequest
    shard: str
    row: int
    block: str
    rank: int
    radius: float
    order: int
    content_radius: float = 0.0
    by_question: bool = False
    wordings: tuple[Wording, ...] = ()

    @property
    def id(self) -> str:
        return self.request.id

    @property
    def question(self) -> str | None:
        """What its subject is described by, where that does not say which it is."""
        return question_for(self.request) if self.by_question else None

    def joined_with(self, other: Edit) -> Edit:
        """The same edit of another version and this one: the smaller radius, the wordings of both."""
        kept, rest = sorted((self, other), key=lambda e: (e.radius, e.content_radius))
        by_text = {w.text: w for w in rest.wordings} | {w.text: w for w in kept.wordings}
        return replace(kept, wordings=tuple(by_text[text] for text in sorted(by_text)))


@dataclass(frozen=True)
class Version:
    """backbone, tokenizer: hashes of what it was made for. edits: by id, in order of `order`.

    encoder_name, encoder: what its keys were read by, and its hash. calibration: the radii that its
    edits began with.
    """

    backbone: str
    tokenizer: str
    backbone_name: str
    encoder_name: str
    encoder: str
    projection: KeyProjection
    calibration: Calibration
    edits: dict[str, Edit] = field(default_factory=dict)
    shards: dict[str, Shard] = field(default_factory=dict)
    parent: str | None = None

    @classmethod
    def empty(cls, backbone: Backbone, reader: KeyReader, calibration: Calibration) -> Version:
        """The backbone without any edit."""
        return cls(
            backbone.weights_hash,
            backbone.tokenizer_hash,
            backbone.name,
            reader.encoder.name,
            reader.encoder.content_hash,
            reader.projection,
            calibration,
        )

    @cached_property
    def id(self) -> str:
        """sha256 over everything that decides an answer. The way to it (parent, order of jobs) is not."""
        parts = (SCHEMA, self.backbone, self.tokenizer, self.encoder, self.projection_hash)
        digest = hashlib.sha256("|".join(map(str, parts)).encode())
        for edit in sorted(self.edits.values(), key=lambda e: e.id):
            content = [
                edit.id,
                edit.block,
                edit.radius.hex(),
                edit.content_radius.hex(),
                edit.request.needs_conversation,
                edit.question or "",
                *edit.request.names,
                *sorted(w.content_hash for w in edit.wordings),
            ]
            digest.update(json.dumps(content).encode())
        return digest.hexdigest()[:32]

    @cached_property
    def projection_hash(self) -> str:
        return self.projection.content_hash()

    @cached_property
    def index(self) -> NeuronIndex:
        """Of the edits whose question stands alone; built on first use from the keys of the shards."""
        return self._index(needs_conversation=False)

    @cached_property
    def conversation_index(self) -> NeuronIndex:
        """Of the edits whose question means something only behind what was asked before it."""
        return self._index(needs_conversation=True)

    def _index(self, needs_conversation: bool) -> NeuronIndex:
        projection = self.projection
        index = NeuronIndex(
            projection.size, projection.relation_size, distances=projection.distances
        )
        for edit in self.edits.values():
            if edit.request.needs_conversation == needs_conversation:
                own = self._member(edit)
                others = [
                    replace(
                        own,
                        key=np.asarray(wording.key, dtype=np.float32),
                        radius=wording.radius,
                        content_radius=wording.content_radius,
                        wording=i,
                        text=wording.text,
                    )
                    for i, wording in enumerate(edit.wordings, 1)
                ]
                index.add([own, *others])
        return index

    def member(self, edit: str) -> Member:
        """The member of an edit's own prompt, in whichever index it is. Raises UnknownEdit."""
        return self._member(self[edit])

    def _member(self, edit: Edit) -> Member:
        request = edit.request
        return Member(
            edit.id,
            self.shards[edit.shard].keys[edit.row],
            edit.radius,
            request.names,
            edit.order,
            edit.content_radius,
            edit.question,
            text=request.question,
            inferred=request.subject_source == "inferred",
        )

    def __len__(self) -> int:
        return len(self.edits)

    def __contains__(self, edit: str) -> bool:
        return edit in self.edits

    def __getitem__(self, edit: str) -> Edit:
        try:
            return self.edits[edit]
        except KeyError:
            raise UnknownEdit(
                f'edit "{edit}" is not in version {self.id[:12]}, which has {len(self):,} edits.'
            ) from None

    def place(self, edit: str) -> tuple[Shard, int]:
        """Where the edit's block lies."""
        stored = self[edit]
        return self.shards[stored.shard], stored.row

    def with_edits(self, edits: Sequence[Edit], shards: Sequence[Shard]) -> Version:
        """A version with more edits. An edit of an id that is there takes its place."""
        kept = {**self.edits, **{e.id: e for e in edits}}
        return self._next(kept, [*self.shards.values(), *shards])

    def with_wordings(self, edit: str, wordings: Sequence[Wording]) -> Version:
        """A version in which an edit has more wordings; its block stays. Raises UnknownEdit."""
        stored = self[edit]
        texts = {w.text for w in stored.wordings}
        more = tuple(w for w in wordings if w.text not in texts)
        changed = {**self.edits, edit: replace(stored, wordings=(*stored.wordings, *more))}
        return self._next(changed, self.shards.values())

    def without(self, edits: Sequence[str]) -> Version:
        """A version whose index lacks these edits. Raises UnknownEdit."""
        gone = {self[edit].id for edit in edits}
        return self._next(
            {k: v for k, v in self.edits.items() if k not in gone}, self.shards.values()
        )

    def with_radius(self, edit: str, radius: float) -> Version:
        """A version in which one edit reaches less (or more) far. Its keys and block stay.

        How far its other wordings reach, and it where it is named partly, changes in proportion.
        """
        stored = self[edit]
        share = radius / stored.radius if stored.radius > 0 else 0.0
        wordings = tuple(
            replace(w, radius=w.radius * share, content_radius=w.content_radius * share)
            for w in stored.wordings
        )
        content = float(stored.content_radius and stored.content_radius * share)
        changed = {
            **self.edits,
            edit: replace(stored, radius=float(radius), content_radius=content, wordings=wordings),
        }
        return self._next(changed, self.shards.values())

    def merge(self, other: Version) -> Version:
        """Both versions' edits: blocks never overlap, so this is concatenation.

        An edit that is in both has the wordings of both, and the smaller radius: a radius only shrinks.
        Raises VersionError for versions of two backbones or key spaces, or an edit in both with
        another block.
        """
        mine = (self.backbone, self.tokenizer, self.encoder, self.projection_hash)
        if mine != (other.backbone, other.tokenizer, other.encoder, other.projection_hash):
            raise VersionError("versions of two backbones or key projections can't be merged.")
        both: dict[str, Edit] = {}
        for edit in self.edits.keys() & other.edits.keys():
            if self.edits[edit].block != other.edits[edit].block:
                raise VersionError(f"edit {edit} is in both versions with different blocks.")
            both[edit] = self.edits[edit].joined_with(other.edits[edit])
        return self._next(
            {**self.edits, **other.edits, **both}, [*self.shards.values(), *other.shards.values()]
        )

    def _next(self, edits: dict[str, Edit], shards: Iterable[Shard]) -> Version:
        used = {e.shard for e in edits.values()}
        ordered = dict(sorted(edits.items(), key=lambda item: (item[1].order, item[0])))
        return replace(
            self,
            edits=ordered,
            shards={s.name: s for s in shards if s.name in used},
            parent=self.id,
        )

    def save(self, folder: str | Path, shards: str | Path | None = None) -> Path:
        """Write the version. shards: a store that versions share.

        It is on disk when this returns. Never leaves half a version.
        """
        folder = Path(folder)
        store = Path(shards) if shards else folder / "shards"
        partial = partial_folder(folder)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for shard in self.shards.values():
            shard.save(store if shards else partial / "shards")
        pq.write_table(_table(self.edits.values()), partial / EDITS)
        self.projection.save(partial / PROJECTION)
        manifest = {
            "schema": SCHEMA,
            "id": self.id,
            "parent": self.parent,
            "backbone": {"name": self.backbone_name, "weights": self.backbone},
            "tokenizer": self.tokenizer,
            "encoder": {"name": self.encoder_name, "sha256": self.encoder},
            "calibration": self.calibration.as_dict(),
            "edits": len(self),
            "shards": sorted(self.shards),
            "sha256": {name: file_hash(partial / name) for name in (EDITS, PROJECTION)},
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
        replace_folder(partial, folder)
        return folder

    @classmethod
    def load(
        cls, folder: str | Path, backbone: Backbone | None = None, shards: str | Path | None = None
    ) -> Version:
        """Open a saved version; blocks are mapped, not read, and verified when they are first used.

        Raises VersionError where a file is missing or damaged, the schema is unknown, or `backbone`
        is not the one that the version was made for.
        """
        folder = Path(folder)
        try:
            manifest = read_manifest(folder)
        except ManifestError as error:
            raise VersionError(str(error)) from None
        for name, expected in manifest["sha256"].items():
            path = folder / name
            if not path.is_file() or file_hash(path) != expected:
                raise VersionError(f'"{path}" is missing or damaged; restore it from a backup.')
        if backbone is not None:
            _check_backbone(manifest, backbone)
        store = Path(shards) if shards else folder / "shards"
        with pq.ParquetFile(folder / EDITS) as file:  # `read_table` would import pandas first
            edits = _edits(file.read())
        blocks: dict[str, list[tuple[int, str]]] = {name: [] for name in manifest["shards"]}
        for edit in edits:
            blocks.setdefault(edit.shard, []).append((edit.row, edit.block))
        opened = {name: Shard.open(store, name, hashes) for name, hashes in blocks.items()}
        version = cls(
            manifest["backbone"]["weights"],
            manifest["tokenizer"],
            manifest["backbone"]["name"],
            manifest["encoder"]["name"],
            manifest["encoder"]["sha256"],
            KeyProjection.from_bytes((folder / PROJECTION).read_bytes()),
            Calibration(**manifest["calibration"]),
            {e.id: e for e in edits},
            opened,
            manifest["parent"],
        )
        if version.id != manifest["id"]:
            raise VersionError(
                f'"{folder}" names itself {manifest["id"][:12]} but holds {version.id[:12]}; '
                "restore it from a backup."
            )
        return version


def compact(version: Version) -> Version:
    """Fold all shards into one for each rank and drop the blocks that no edit uses. Same id."""
    by_rank: dict[int, list[Edit]] = {}
    for edit in version.edits.values():
        by_rank.setdefault(edit.rank, []).append(edit)
    edits: dict[str, Edit] = {}
    shards: dict[str, Shard] = {}
    for members in by_rank.values():
        places = [version.place(e.id) for e in members]
        pairs = [
            (
                torch.stack([s.pairs[target][0][row] for s, row in places]),
                torch.stack([s.pairs[target][1][row] for s, row in places]),
            )
            for target in range(len(places[0][0].pairs))
        ]
        shard = Shard.from_tensors(pairs, np.stack([s.keys[row] for s, row in places]))
        shards[shard.name] = shard
        for row, edit in enumerate(members):
            edits[edit.id] = replace(edit, shard=shard.name, row=row)
    return replace(version, edits={i: edits[i] for i in version.edits}, shards=shards)


def _check_backbone(manifest: dict[str, Any], backbone: Backbone) -> None:
    if manifest["backbone"]["weights"] != backbone.weights_hash:
        raise VersionError(
            f'the version was made for backbone "{manifest["backbone"]["name"]}" '
            f'({manifest["backbone"]["weights"][:12]}); got "{backbone.name}" '
            f"({backbone.weights_hash[:12]}). Open it with its own backbone."
        )
    if manifest["tokenizer"] != backbone.tokenizer_hash:
        raise VersionError("the tokenizer is not the one that the version was made with.")


def _table(edits: Iterable[Edit]) -> pa.Table:
    rows = []
    for edit in edits:
        request = edit.request
        row: dict[str, Any] = {n: getattr(request, n) for n in _TEXTS}
        row |= {n: list(getattr(request, n)) for n in _LISTS}
        row["prompt"] = asked(request.prompt)
        if not isinstance(request.prompt, str):
            row["messages"] = request.prompt.as_json()
        row |= {name: getattr(edit, name) for name in _PLACE}
        row["wordings"] = [asdict(w) for w in edit.wordings]
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=_PARQUET)


def _edits(table: pa.Table) -> list[Edit]:
    edits = []
    for row in table.to_pylist():
        prompt = Conversation.of(row["messages"]) if row["messages"] else row["prompt"]
        request = EditRequest(prompt, **{name: row[name] for name in (*_TEXTS, *_LISTS)})
        wordings = tuple(Wording(**{**w, "key": tuple(w["key"])}) for w in row["wordings"])
        edits.append(Edit(request, **{name: row[name] for name in _PLACE}, wordings=wordings))
    return edits


_TEXTS = ("target", "subject", "id", "subject_source")
_LISTS = ("aliases", "rephrases", "locality")
_PLACE = ("shard", "row", "block", "rank", "radius", "order", "content_radius", "by_question")
_WORDING = pa.struct(
    [
        ("text", pa.string()),
        ("key", pa.list_(pa.float32())),
        ("radius", pa.float64()),
        ("content_radius", pa.float64()),
    ]
)
_PARQUET = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", pa.string()),  # what is asked
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("target", pa.string()),
        ("subject", pa.string()),
        ("subject_source", pa.string()),
        ("aliases", pa.list_(pa.string())),
        ("rephrases", pa.list_(pa.string())),
        ("locality", pa.list_(pa.string())),
        ("shard", pa.string()),
        ("row", pa.int32()),
        ("block", pa.string()),
        ("rank", pa.int32()),
        ("radius", pa.float64()),
        ("order", pa.int64()),
        ("content_radius", pa.float64()),
        ("by_question", pa.bool_()),
        ("wordings", pa.list_(_WORDING)),
    ]
)
