"""A small real transformer, edited for real: what the gate's tests stand on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from benchmarks.tiny import untrained_t5, word_tokenizer
from melo_engine import Backbone, Editor, EditRequest, EditSettings, PromptSettings, Version
from tasks.gate import AnswerCache, Thresholds

RELATIONS = {
    "leads": ("who leads [X] ?", "who leads the [X] ?", "who leads [X] now ?"),
    "colour": ("what colour is [X] ?", "what colour is the [X] ?", "what colour is [X] now ?"),
    "city": ("in which city is [X] ?", "in which city is the [X] ?", "in which city is [X] now ?"),
}
ANSWERS = {
    "leads": ("ada li", "jon berg", "mia sol", "tom ek"),
    "colour": ("red", "dark blue", "green", "grey"),
    "city": ("oslo", "lima", "cairo", "new york"),
}
HEADS = ("vel", "tor", "quin", "zar", "mab", "ost", "kel", "bru", "fen", "dax")
TAILS = ("andor", "iquet", "omire", "ustra", "elban", "ovic", "arweth", "issant")


def facts(count: int) -> list[tuple[EditRequest, list[str]]]:
    """Edits about made-up subjects, each with a rephrase that is not trained on."""
    names = [f"{head}{tail} {tail}" for tail in TAILS for head in HEADS]
    found = []
    for i, name in enumerate(names[:count]):
        relation = list(RELATIONS)[i % 3]
        prompt, trained, held_out = (t.replace("[X]", name) for t in RELATIONS[relation])
        target = ANSWERS[relation][i % 4]
        found.append((EditRequest(prompt, target, name, rephrases=(trained,)), [held_out]))
    return found


def count_texts(cache: AnswerCache) -> int:
    """How many answers a cache holds, of all scopes."""
    with closing(sqlite3.connect(cache.path)) as connection:
        return int(connection.execute("SELECT count(*) FROM texts").fetchone()[0])


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, for the words of the facts above and of general prompts."""
    texts = [t.replace("[X]", "") for ts in RELATIONS.values() for t in ts]
    texts += [a for group in ANSWERS.values() for a in group]
    texts += ["what is the capital of norway ?", "name a thing", "how many days has a week ?"]
    texts += [f"{head}{tail}" for head in HEADS for tail in TAILS] + list(TAILS)
    texts += ["wexandor", "wexovic", "yaromire", "ulmustra", "brenholt", "sol mi re do fa la si ut"]
    return word_tokenizer(w for text in texts for w in text.split())


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def tiny_backbone() -> Backbone:
    """A new small T5 with random weights, always the same ones."""
    tokenizer = tiny_tokenizer()
    model = untrained_t5(len(tokenizer))
    return Backbone.wrap(model, tokenizer, prompts=PromptSettings(max_tokens=64))


@dataclass(frozen=True)
class World:
    """A healthy champion, a healthy candidate upon it, and what is known about their edits."""

    backbone: Backbone
    champion: Version
    candidate: Version
    held_out: dict[str, list[str]]

    def editor(self) -> Editor:
        return Editor(self.backbone, self.candidate)

    @property
    def new(self) -> list[str]:
        return [e for e in self.candidate.edits if e not in self.champion]


SETTINGS = EditSettings(rank=4, max_steps=150)


@pytest.fixture(scope="session")
def world() -> World:
    """30 edits in force, 10 more in the candidate."""
    backbone = tiny_backbone()
    pairs = facts(40)
    editor = Editor(backbone, settings=SETTINGS)
    champion = editor.edit([r for r, _ in pairs[:30]]).version
    candidate = editor.edit([r for r, _ in pairs[30:]]).version
    return World(backbone, champion, candidate, {r.id: held for r, held in pairs})


@pytest.fixture
def cache(tmp_path: Path) -> AnswerCache:
    with AnswerCache.open(tmp_path / "answers.sqlite") as opened:
        yield opened


@pytest.fixture(scope="session")
def thresholds() -> Thresholds:
    return Thresholds.load()
