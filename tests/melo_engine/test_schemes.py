"""Behaviour that has changed must come with a new number: else what is kept would be wrong."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch

from melo_engine import Editor, EditRequest
from melo_engine.blocks import Shard
from melo_engine.schemes import ANSWERING, KEYS, ROUTING
from melo_engine.version import Edit
from tests.tasks.gate.conftest import facts, tiny_backbone

# What routes and answers came to when the numbers were last raised. Raise the number and write the new
# digest here together, where the change is meant.
KNOWN = {"routes": (KEYS, ROUTING, "40b7729e3d77cc97"), "answers": (ANSWERING, "ae55f96c335a5ffe")}


def told() -> dict[str, str]:
    """Routes and answers of a small random model with blocks of random weights."""
    backbone = tiny_backbone()
    pairs = facts(12)
    editor = Editor(backbone)
    requests = [r for r, _ in pairs] + [EditRequest("sol mi re", "red", id="free")]
    own = [editor.reader.read([r.question], [None])[0] for r in requests]
    generator = torch.Generator().manual_seed(0)
    shapes = [
        (t.in_features, t.out_features)
        for t in editor.runtime.targets  # type: ignore[union-attr]
    ]
    pairs_of_blocks = [
        (
            torch.randn(len(requests), i, 4, generator=generator),
            torch.randn(len(requests), 4, o, generator=generator),
        )
        for i, o in shapes
    ]
    shard = Shard.from_tensors(pairs_of_blocks, np.stack(own))
    edits = [
        Edit(r, shard.name, row, shard.block_hash(row), 4, 0.6, row)
        for row, r in enumerate(requests)
    ]
    editor.use(editor.version.with_edits(edits, [shard]))
    prompts = [p for r, held in facts(12) for p in (r.question, *r.rephrases, *held)]
    prompts += [p.replace("andor", "andr") for p in prompts[:8]]
    prompts += ["sol mi re", "sol mi re now", "name a thing", "what is the capital of norway ?"]
    routes = [(r.edit, r.nearest) for r in editor.routes(prompts)]
    answers = [a.text for a in editor.answer(prompts)]
    return {
        name: hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
        for name, value in (("routes", routes), ("answers", answers))
    }


def test_routes_and_answers_are_those_of_their_numbers() -> None:
    now = told()
    assert ("routes", KEYS, ROUTING, now["routes"]) == ("routes", *KNOWN["routes"])
    assert ("answers", ANSWERING, now["answers"]) == ("answers", *KNOWN["answers"])
