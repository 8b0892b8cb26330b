"""The contrast corpus: relations in many wordings about invented subjects (`relations.yaml`).

Written for this project. Some relations are held out of learning: radii are calibrated on them.
"""

from __future__ import annotations

import hashlib
import random
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from melo_engine.near_misses import SLOT

HELD_OUT = 5  # one relation in so many is kept from learning
BEHIND_TEXT = 0.5  # share of wordings that stand behind a stray sentence once more


@cache
def relations_file() -> dict[str, Any]:
    """The corpus as written: relations with wordings, subjects of each kind, stray sentences."""
    text = (Path(__file__).parent / "relations.yaml").read_text(encoding="utf-8")
    return dict(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


@cache
def corpus_hash() -> str:
    """sha256 of the corpus, by which a projection that was learned from it is known."""
    return hashlib.sha256((Path(__file__).parent / "relations.yaml").read_bytes()).hexdigest()


@cache
def held_out() -> tuple[str, ...]:
    """Names of the relations that nothing is learned from."""
    return tuple(sorted(relations_file()["relations"])[::HELD_OUT])


def labelled_wordings(seed: int, placeholder: str) -> list[tuple[str, int, int]]:
    """(text, relation, kind of subject that the relation is about) of every wording to learn from.

    The subject's name is replaced by the placeholder, as in a key's relation text.
    """
    source = relations_file()
    kinds = sorted(source["subjects"])
    chooser = random.Random(seed)
    rows = []
    for number, name in enumerate(n for n in sorted(source["relations"]) if n not in held_out()):
        entry = source["relations"][name]
        kind = kinds.index(entry["subject"])
        for wording in entry["wordings"]:
            text = wording.replace(SLOT, placeholder)
            rows.append((text, number, kind))
            if chooser.random() < BEHIND_TEXT:
                rows.append((f"{chooser.choice(source['noise'])} {text}", number, kind))
    return rows
