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
SENTENCES = (
    "I am writing a short piece for our newsletter and want to get the details right before it goes out.",
    "Thanks for the quick reply yesterday, that already helped us a lot.",
    "We had a long discussion about this at lunch and nobody could say for sure.",
)
PARAGRAPHS = (
    "Our garden club spent the whole weekend planting tomatoes, beans and a row of sunflowers along the "
    "fence behind the school. It rained twice, two spades broke, and still everybody stayed until the "
    "last seedling was in the ground and the tools were washed.",
    "Last month I moved into a small flat above a bakery, and since then I wake up at five because of "
    "the mixers. The rent is low, the neighbours are friendly, and there is always warm bread, so I have "
    "decided to stay at least until spring.",
    "Before the meeting we should collect the open points: the heating on the second floor is loud, the "
    "printer has no toner, the new chairs have not arrived, and somebody has to water the plants while "
    "Marta is on holiday for two weeks.",
    "Version 2.4 fixes a crash when a file is dropped on the window, makes search twice as fast on large "
    "folders, and removes the old import dialog. Please restart the program after the update and tell us "
    "if anything looks odd on your screen.",
)

Frame = Callable[[str], Prompt]


def frames(identity: str, count: int) -> list[Frame]:
    """Up to `count` contexts for an edit's own question, those first in which a block says it least.

    Each puts a question into one; which texts or turn these are, the edit's identity chooses.
    """
    chooser = random.Random(f"{identity}|context")
    hardest_first = [_behind(text) for text in chooser.sample(PARAGRAPHS, 2)]
    hardest_first += [_after_a_turn(chooser), _under_system_prompt(chooser)]
    return hardest_first[:count]


def frames_for_views(identity: str, count: int) -> list[Frame]:
    """Up to `count` contexts for the other questions that a block is trained in, of any kind."""
    chooser = random.Random(f"{identity}|view|context")
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
    return _behind(chooser.choice((*SENTENCES, *PARAGRAPHS)))


def _behind(text: str) -> Frame:
    return lambda q: f"{text} {q}"
