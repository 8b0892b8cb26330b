"""The contrast corpus: relations in many wordings about invented subjects (`relations.yaml`)."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from melo_engine.near_misses import SLOT

COPIES = 2  # prompts made of each wording; half of the last ones stand behind a stray sentence
MISFITS = 0.5  # share of prompts whose subject is of any kind: "When was the asteroid born?"


@cache
def relations_file() -> dict[str, Any]:
    """The corpus as written: relations with wordings, subjects of each kind, stray sentences."""
    text = (Path(__file__).parent / "relations.yaml").read_text(encoding="utf-8")
    return dict(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def labelled_prompts(seed: int) -> list[tuple[str, int, int, str]]:
    """(prompt, relation, kind of subject that the relation is about, subject) for every wording.

    In traffic a wording comes with subjects that it does not fit, so half of the prompts are such:
    what a key says of the relation must not hang on the kind of subject.
    """
    source = relations_file()
    kinds = sorted(source["subjects"])
    chooser = random.Random(seed)
    rows = []
    for number, name in enumerate(sorted(source["relations"])):
        entry = source["relations"][name]
        for wording in entry["wordings"]:
            for copy in range(COPIES):
                misfit = chooser.random() < MISFITS
                kind = chooser.choice(kinds) if misfit else entry["subject"]
                subject = chooser.choice(source["subjects"][kind])
                prompt = wording.replace(SLOT, subject)
                if copy == COPIES - 1 and chooser.random() < 0.5:
                    prompt = f"{chooser.choice(source['noise'])} {prompt}"
                rows.append((prompt, number, kinds.index(entry["subject"]), subject))
    return rows
