"""What a question may stand in: system prompts, earlier turns, other text before it.

A block acts in the whole conversation, so it is trained under some of these, and says its target in
others as well.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from melo_engine.conversation import Conversation, Message, Prompt

SYSTEM_PROMPTS = (
    "Answer in one short sentence.",
    "You work at the help desk of a software firm. Be friendly and brief.",
    "You are a careful research assistant. Say only what you are sure of.",
)
TURNS = (
    ("Hello!", "Hello! How can I help you today?"),
    (
        "Please write a line about the sea.",
        "The sea is wide and deep and sings the shore to sleep.",
    ),
    ("How many minutes are in two hours?", "Two hours have 120 minutes."),
)
TEXTS = (
    "I am writing a short piece for our newsletter and want to get the details right before it goes out.",
    "Thanks for the quick reply yesterday, that already helped us a lot.",
    "We had a long discussion about this at lunch and nobody could say for sure.",
)

Frame = Callable[[str], Prompt]


def frames(identity: str, count: int) -> list[Frame]:
    """Up to `count` contexts, chosen by an edit's identity: each puts a question into one."""
    chooser = random.Random(f"{identity}|context")
    kinds = chooser.sample((_under_system_prompt, _after_a_turn, _behind_text), min(count, 3))
    return [kind(chooser) for kind in kinds]


def _under_system_prompt(chooser: random.Random) -> Frame:
    system = chooser.choice(SYSTEM_PROMPTS)
    return lambda q: Conversation((Message("system", system), Message("user", q)))


def _after_a_turn(chooser: random.Random) -> Frame:
    question, answer = chooser.choice(TURNS)
    return lambda q: Conversation(
        (Message("user", question), Message("assistant", answer), Message("user", q))
    )


def _behind_text(chooser: random.Random) -> Frame:
    text = chooser.choice(TEXTS)
    return lambda q: f"{text} {q}"
