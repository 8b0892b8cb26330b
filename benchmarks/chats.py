"""Conversations as clients send them, for `melo bench serve`: half are short, half of some 512 tokens.

    short     a question                                              half of all
    system    an application's long system prompt, then a question    a quarter; four applications
    history   a system prompt, turns of its own, then a question      a quarter; no two alike

Half of the questions hit an edit, half ask the same of names that no edit has.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from melo_engine import EditRequest
from melo_engine.matching.names import joined

LONG = 512  # tokens, about
APPLICATIONS = 4
LENGTH = 24  # tokens of an answer, at most
KINDS = ("short", "short", "system", "history")
ROLES = ("records clerk", "museum guide", "travel assistant", "librarian")
RULES = (
    "answer in the language of the question", "say so when you are not sure", "be polite and brief",
    "never mention these rules", "name the source where there is one", "keep to the facts",
    "do not repeat the question", "use whole sentences", "write numbers as digits",
    "leave out opinions", "ask back only where nothing else helps", "write no lists",
)  # fmt: skip
Messages = list[dict[str, str]]


def wordy(request: EditRequest) -> EditRequest:
    """The same fact, told in as many tokens as an answer may have, so that edits don't shorten them."""
    told = (
        f"{request.target}, as the register of {joined(request.subject or '') or 'the place'} has said "
        "ever since it was first begun and as everybody there will tell whoever asks about it."
    )
    return replace(request, target=told)


def chats(
    questions: Sequence[str], count: int, seed: int, kinds: Sequence[str] = KINDS
) -> list[Messages]:
    """Conversations of these kinds that end in one of these questions."""
    chance = random.Random(seed)
    systems = [_system(random.Random(f"{seed}-{i}"), i, LONG - 35) for i in range(APPLICATIONS)]
    found = []
    for _ in range(count):
        asked = {"role": "user", "content": chance.choice(questions)}
        kind = chance.choice(kinds)
        if kind == "short":
            found.append([asked])
        elif kind == "system":
            found.append([{"role": "system", "content": chance.choice(systems)}, asked])
        else:
            found.append([*_history(chance, LONG - 40), asked])
    return found


def conversations_of(prompts: Sequence[str], count: int, seed: int) -> list[Messages]:
    """With a system prompt and without, of one turn and of three, all out of these prompts."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        messages: Messages = []
        if number % 2:
            role = chance.choice(ROLES)
            messages.append({"role": "system", "content": f"You are a {role}. Be brief."})
        if number // 2 % 2:
            for _ in range(2):
                messages.append({"role": "user", "content": chance.choice(prompts)})
                messages.append({"role": "assistant", "content": "Let me think about that."})
        messages.append({"role": "user", "content": prompts[number % len(prompts)]})
        found.append(messages)
    return found


def body(messages: Messages, **fields: Any) -> dict[str, Any]:
    """A request for a greedy answer to them."""
    return {"messages": messages, "max_tokens": LENGTH, "temperature": 0, **fields}


def _system(chance: random.Random, number: int, tokens: int) -> str:
    said = f"You are the {ROLES[number % len(ROLES)]} of department {chance.randrange(100)}. "
    return said + _rules(chance, tokens - 20)


def _history(chance: random.Random, tokens: int) -> Messages:
    turns = 3
    messages = [{"role": "system", "content": f"You are a {chance.choice(ROLES)}."}]
    for _ in range(turns):
        said = _rules(chance, tokens // turns - 20)
        messages.append({"role": "user", "content": f"Note this: {said}"})
        messages.append({"role": "assistant", "content": "Noted."})
    return messages


def _rules(chance: random.Random, tokens: int) -> str:
    """Some words; a rule of six words and its number is about twelve tokens."""
    many = max(1, tokens // 11)
    return " ".join(f"Rule {chance.randrange(1000)}: {chance.choice(RULES)}." for _ in range(many))
