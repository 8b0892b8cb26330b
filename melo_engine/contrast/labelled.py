"""Wordings of the corpus about its invented subjects, and where these stand: what taggers learn from."""

from __future__ import annotations

import random
from collections.abc import Iterator

from melo_engine.contrast.corpus import Corpus
from melo_engine.near_misses import SLOT

SUBJECTS = 2  # that each wording is learned with
FITTING = 0.6  # share of subjects that are of the kind that the relation is about
LOWER_CASE = 0.3  # share of texts in small letters, as people type
BEHIND_TEXT = 0.15


def with_subjects(source: Corpus, chooser: random.Random) -> Iterator[tuple[str, int, int]]:
    """Every wording about some subjects: a text, and where its subject begins and ends."""
    for relation in source.relations:
        fitting = source.subjects[relation.language, relation.kind]
        others = [
            name
            for (language, _), names in source.subjects.items()
            if language == relation.language
            for name in names
        ]
        for wording in relation.wordings * SUBJECTS:
            subject = chooser.choice(fitting if chooser.random() < FITTING else others)
            before = ""
            if chooser.random() < BEHIND_TEXT:
                before = chooser.choice(source.noise[relation.language]) + " "
            begin = len(before) + wording.index(SLOT)
            text = before + wording.replace(SLOT, subject)
            lower = text.lower()
            if chooser.random() < LOWER_CASE and len(lower) == len(text):
                text = lower
            yield text, begin, begin + len(subject)
