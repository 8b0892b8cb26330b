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
    ("Please write a line about the sea.", "The sea is wide and deep and sings the shore to sleep."),
    ("How many minutes are in two hours?", "Two hours have 120 minutes."),
)  # fmt: skip
TEXTS = (
    "I am writing a short piece for our newsletter and want to get the details right before it goes out.",
    "Thanks for the quick reply yesterday, that already helped us a lot.",
    "We had a long discussion about this at lunch and nobody could say for sure.",
    "The shop on the corner is closed this week because the owner is repainting the walls, so we walked "
    "along the river instead, had a coffee at the old mill, and talked about the concert on Friday, for "
    "which there are still some tickets left, though only in the last rows.",
    "Dear team, the printer on the second floor is out of order again. Until it has been repaired, "
    "please use the one beside the kitchen and bring your own paper. The new chairs come on Thursday, "
    "and somebody should be there before eight to open the door for the delivery.",
)

Frame = Callable[[str], Prompt]


def frames(identity: str, count: int) -> list[Frame]:
    """Up to `count` contexts, chosen by an edit's identity: each puts a question into one.

    The first is other text, which stands nearest to the answer and moves it most.
    """
    chooser = random.Random(f"{identity}|context")
    others = chooser.sample((_under_system_prompt, _after_a_turn), 2)
    return [kind(chooser) for kind in (_behind_text, *others)[:count]]


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
