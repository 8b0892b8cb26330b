"""Versions of random blocks and real keys: any number of edits without training.

Each edit is about an invented subject. A block is drawn, not learned, so what it says means nothing;
what routing, gathering, opening and storing cost is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from melo_engine import Backbone, Edit, Editor, EditRequest, Version
from melo_engine.blocks import Shard
from melo_engine.matching.names import name_in
from melo_engine.surgery import projection_sizes

RANK, SHARD, RADIUS = 4, 2000, 0.1
_FIRST = "Ald Bren Cass Dor Eld Farn Gil Hest Ivo Jor Kelm Lund Mar Nev Orr Pell Quin Ros".split()
_LAST = (
    "wick mere holm stead ford burn field wood gate shaw thorpe ley worth combe dale ham".split()
)


def random_version(
    backbone: Backbone, size: int, *, progress: Callable[[int], None] | None = None
) -> Version:
    """A version of `size` edits, in shards of SHARD blocks of rank RANK."""
    editor = Editor(backbone)
    version = editor.version
    for start in range(0, size, SHARD):
        version = _grown(editor, version, range(start, min(start + SHARD, size)))
        if progress is not None:
            progress(len(version))
    return version


def grown(backbone: Backbone, version: Version, count: int) -> Version:
    """The version with `count` more edits in a shard of their own."""
    editor = Editor(backbone, version)
    return _grown(editor, version, range(len(version), len(version) + count))


def prompt_about(number: int) -> str:
    """The edit's own question; numbers that no edit has give prompts about nobody known."""
    return f"Where was {invented_name(number)} born?"


def invented_name(number: int) -> str:
    """A name of three words for each number."""
    digits = np.base_repr(number, len(_LAST))
    last = "".join(_LAST[int(d, len(_LAST))] for d in digits)
    return (
        f"{_FIRST[number % len(_FIRST)]}{_LAST[number // 7 % len(_LAST)]} "
        f"{_FIRST[number // 11 % len(_FIRST)]} {last}"
    )


def _grown(editor: Editor, version: Version, numbers: Iterable[int]) -> Version:
    requests = [EditRequest(prompt_about(i), "x", invented_name(i), id=f"{i:08d}") for i in numbers]
    names = [name_in(r.question, r.names) for r in requests]
    keys = editor.reader.read([r.question for r in requests], names)
    generator = torch.Generator().manual_seed(len(version))
    pairs = []
    for target in editor.runtime.targets:
        size_in, size_out = projection_sizes(target)
        shapes = (len(requests), size_in, RANK), (len(requests), RANK, size_out)
        a, b = (torch.randn(*s, generator=generator) * 1e-2 for s in shapes)
        pairs.append((a.to(editor.backbone.dtype), b.to(editor.backbone.dtype)))
    shard = Shard.from_tensors(pairs, keys)
    edits = [
        Edit(r, shard.name, row, shard.block_hash(row), RANK, RADIUS, int(r.id))
        for row, r in enumerate(requests)
    ]
    return version.with_edits(edits, [shard])
