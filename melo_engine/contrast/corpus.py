"""The contrast corpus: relations in many wordings about invented subjects.

    relations.yaml    English: what encyclopedias say    languages.yaml             twelve languages more
    services.yaml     English: what customers,           services_languages.yaml    twelve languages more
                      citizens and employees ask

Written for this project. Wordings that stand word for word in a public edit set that is measured on
here were taken out (`tests/melo_engine/contrast`). Some relations are held out of learning: radii are
calibrated on them. Services are for the sentence encoder: learned with them, hidden states tell what
encyclopedias say apart less well (`docs/decisions/key-reader.md`).
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from melo_engine.encoders import SentenceEncoder, TokenEncoder
from melo_engine.matching.names import words
from melo_engine.near_misses import SLOT

ENCYCLOPEDIC, LANGUAGES = "relations.yaml", "languages.yaml"
SERVICES, SERVICES_LANGUAGES = "services.yaml", "services_languages.yaml"
ENGLISH = "en"
HELD_OUT = 5  # one relation in so many is kept from learning
BEHIND_TEXT = 0.25  # share of wordings that stand behind a stray sentence once more


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation in one language. kind: of subject that it is about; wordings: with `SLOT`."""

    name: str
    language: str
    kind: str
    wordings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """relations: by language and name. subjects: names by (language, kind). noise: by language."""

    relations: tuple[Relation, ...]
    subjects: dict[tuple[str, str], tuple[str, ...]]
    noise: dict[str, tuple[str, ...]]

    @property
    def held_out(self) -> tuple[Relation, ...]:
        """Those that nothing is learned from."""
        return self.relations[::HELD_OUT]

    @property
    def learned_from(self) -> tuple[Relation, ...]:
        held_out = set(self.held_out)
        return tuple(r for r in self.relations if r not in held_out)


def corpus_for(encoder: TokenEncoder) -> Corpus:
    """What is learned from for an encoder."""
    return corpus(_has_services(encoder))


def _has_services(encoder: TokenEncoder) -> bool:
    return encoder.name == SentenceEncoder.name


@cache
def corpus(services: bool = True) -> Corpus:
    """The corpus as written, with services or without."""
    english, other_languages = _read(ENCYCLOPEDIC), _read(LANGUAGES)
    if services:
        for part, entries in _read(SERVICES).items():
            english[part] = english[part] | entries
    relations: list[Relation] = []
    subjects: dict[tuple[str, str], tuple[str, ...]] = {}
    noise: dict[str, tuple[str, ...]] = {}
    for language, source in {ENGLISH: english, **other_languages["languages"]}.items():
        for name, entry in sorted(source["relations"].items()):
            relations.append(Relation(name, language, entry["subject"], tuple(entry["wordings"])))
        for kind, names in source["subjects"].items():
            subjects[language, kind] = tuple(names)
        noise[language] = tuple(source["noise"])
    return Corpus(tuple(relations), subjects, noise)


@cache
def other_languages() -> Corpus:
    """All relations in other languages than English, from which letters are learned (`subwords`)."""
    encyclopedic = corpus(services=False)
    relations = [r for r in encyclopedic.relations if r.language != ENGLISH]
    for language, source in _read(SERVICES_LANGUAGES)["languages"].items():
        for name, entry in sorted(source["relations"].items()):
            relations.append(Relation(name, language, entry["subject"], tuple(entry["wordings"])))
    relations.sort(key=lambda r: r.language)
    return Corpus(tuple(relations), encyclopedic.subjects, encyclopedic.noise)


def corpus_hash(encoder: TokenEncoder) -> str:
    """sha256 of what is learned from for an encoder, by which the projection is known."""
    services = (SERVICES, SERVICES_LANGUAGES) if _has_services(encoder) else ()
    folder = Path(__file__).parent
    files = [(folder / name).read_bytes() for name in (ENCYCLOPEDIC, *services, LANGUAGES)]
    return hashlib.sha256(b"".join(files)).hexdigest()


@cache
def _places_of_words() -> dict[str, frozenset[tuple[int, int]]]:
    """Where each word stands: the numbers of relation and wording."""
    places: dict[str, set[tuple[int, int]]] = {}
    for number, relation in enumerate(corpus().relations):
        for place, wording in enumerate(relation.wordings):
            for word in words(wording.replace(SLOT, " ")):
                places.setdefault(word, set()).add((number, place))
    return {word: frozenset(numbers) for word, numbers in places.items()}


def said_for_each_other(word: str, other: str) -> bool:
    """Whether some relation has wordings with the one word alone and others with the other alone."""
    ours, theirs = (_places_of_words().get(w, frozenset()) for w in (word, other))
    ours_alone = {relation for relation, _ in ours - theirs}
    return not ours_alone.isdisjoint(relation for relation, _ in theirs - ours)


def labelled_wordings(source: Corpus, seed: int, placeholder: str) -> list[tuple[str, int, str]]:
    """(text, relation, language and kind of subject) of every wording to learn from.

    The subject's name is replaced by the placeholder, as in a key's relation text. A relation has a
    number in each language.
    """
    chooser = random.Random(seed)
    rows = []
    for number, relation in enumerate(source.learned_from):
        kind = f"{relation.language}/{relation.kind}"
        for wording in relation.wordings:
            text = wording.replace(SLOT, placeholder)
            rows.append((text, number, kind))
            if chooser.random() < BEHIND_TEXT:
                noise = chooser.choice(source.noise[relation.language])
                rows.append((f"{noise} {text}", number, kind))
    return rows


def _read(name: str) -> dict[str, Any]:
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    return dict(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
