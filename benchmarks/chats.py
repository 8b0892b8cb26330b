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
    "answer in the language of the question",
    "say so when you are not sure",
    "be polite and brief",
    "never mention these rules",
    "name the source where there is one",
    "keep to the facts",
    "do not repeat the question",
    "use whole sentences",
    "write numbers as digits",
    "leave out opinions",
    "ask back only where nothing else helps",
    "write no lists",
)
Messages = list[dict[str, str]]


def wordy(request: EditRequest) -> EditRequest:
    """The same fact in as many tokens as an answer may have, so that edits don't shorten answers."""
    target = (
        f"{request.target}, as the register of {joined(request.subject or '') or 'the place'} has said "
        "ever since it was first begun and as everybody there will tell whoever asks about it."
    )
    return replace(request, target=target)


def chats(
    questions: Sequence[str], count: int, seed: int, kinds: Sequence[str] = KINDS
) -> list[Messages]:
    """Conversations of these kinds that end in one of these questions."""
    chance = random.Random(seed)
    systems = [_system(random.Random(f"{seed}-{i}"), i, LONG - 35) for i in range(APPLICATIONS)]
    conversations = []
    for _ in range(count):
        question = {"role": "user", "content": chance.choice(questions)}
        kind = chance.choice(kinds)
        if kind == "short":
            conversations.append([question])
        elif kind == "system":
            conversations.append([{"role": "system", "content": chance.choice(systems)}, question])
        else:
            conversations.append([*_history(chance, LONG - 40), question])
    return conversations


def conversations_of(prompts: Sequence[str], count: int, seed: int) -> list[Messages]:
    """With a system prompt and without, of one turn and of three, all out of these prompts."""
    chance = random.Random(seed)
    conversations = []
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
        conversations.append(messages)
    return conversations


def body(messages: Messages, **fields: Any) -> dict[str, Any]:
    """A request for a greedy answer to them."""
    return {"messages": messages, "max_tokens": LENGTH, "temperature": 0, **fields}


def _system(chance: random.Random, number: int, tokens: int) -> str:
    opening = f"You are the {ROLES[number % len(ROLES)]} of department {chance.randrange(100)}. "
    return opening + _rules(chance, tokens - 20)


def _history(chance: random.Random, tokens: int) -> Messages:
    turns = 3
    messages = [{"role": "system", "content": f"You are a {chance.choice(ROLES)}."}]
    for _ in range(turns):
        rules = _rules(chance, tokens // turns - 20)
        messages.append({"role": "user", "content": f"Note this: {rules}"})
        messages.append({"role": "assistant", "content": "Noted."})
    return messages


def _rules(chance: random.Random, tokens: int) -> str:
    """Some words; a rule of six words and its number is about twelve tokens."""
    many = max(1, tokens // 11)
    return " ".join(f"Rule {chance.randrange(1000)}: {chance.choice(RULES)}." for _ in range(many))
