"""The contrast corpus: relations in many wordings about invented subjects (`relations.yaml`)."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from melo_engine.near_misses import SLOT

COPIES = 2  # prompts made of each wording; half of the last ones stand behind a stray sentence


@cache
def relations_file() -> dict[str, Any]:
    """The corpus as written: relations with wordings, subjects of each kind, stray sentences."""
    text = (Path(__file__).parent / "relations.yaml").read_text(encoding="utf-8")
    return dict(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def labelled_prompts(seed: int) -> list[tuple[str, int, int]]:
    """(prompt, relation, kind of subject) for every wording."""
    source = relations_file()
    kinds = sorted(source["subjects"])
    chooser = random.Random(seed)
    rows = []
    for number, name in enumerate(sorted(source["relations"])):
        entry = source["relations"][name]
        for wording in entry["wordings"]:
            for copy in range(COPIES):
                prompt = wording.replace(SLOT, chooser.choice(source["subjects"][entry["subject"]]))
                if copy == COPIES - 1 and chooser.random() < 0.5:
                    prompt = f"{chooser.choice(source['noise'])} {prompt}"
                rows.append((prompt, number, kinds.index(entry["subject"])))
    return rows
