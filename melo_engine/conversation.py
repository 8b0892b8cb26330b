"""What is asked: a plain text, or a conversation as chat models take it.

    "Who leads Acme?"                                    a conversation of one user message
    system ─ user ─ assistant ─ user "And since when?"   what is asked is the last user message

A conversation is rendered in one place, `Backbone.rendered`. A key is read from what is asked alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from melo_engine.errors import PromptError

ROLES = ("system", "user", "assistant")
SAME_ROLE = {"developer": "system"}  # as OpenAI's newer models name it


@dataclass(frozen=True, slots=True)
class Message:
    """One message. role: one of `ROLES`; content: its text."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in their order, the last user message being what is asked.

    Raises PromptError where a role is unknown or no user message holds a word.
    """

    messages: tuple[Message, ...]

    def __post_init__(self) -> None:
        for number, message in enumerate(self.messages):
            if message.role not in ROLES:
                raise PromptError(
                    f'message {number} has role "{message.role}"; allowed: '
                    f"{', '.join((*ROLES, *SAME_ROLE))}."
                )
        if not any(m.role == "user" and m.content.strip() for m in self.messages):
            raise PromptError(
                "the conversation has no message of role user with a word in it; give what is asked."
            )

    @classmethod
    def of(cls, messages: Sequence[Mapping[str, Any]]) -> Conversation:
        """From `[{"role": ..., "content": ...}, ...]`. Raises PromptError for another shape."""
        if not isinstance(messages, list | tuple):
            raise PromptError(
                'messages must be a list of {"role": ..., "content": ...}; '
                f"got {type(messages).__name__}."
            )
        parsed = []
        for number, message in enumerate(messages):
            parts = message if isinstance(message, Mapping) else {}
            role, content = parts.get("role"), parts.get("content")
            if not isinstance(role, str) or not isinstance(content, str):
                got = ", ".join(f"{k} of type {type(v).__name__}" for k, v in parts.items())
                raise PromptError(
                    f'message {number} must have "role" and "content", both texts; '
                    f"got {got or type(message).__name__}."
                )
            parsed.append(Message(SAME_ROLE.get(role, role), content))
        return cls(tuple(parsed))

    @property
    def questions(self) -> tuple[str, ...]:
        """The user's messages, the last of them being what is asked."""
        return tuple(m.content for m in self.messages if m.role == "user" and m.content.strip())

    @property
    def asked(self) -> str:
        """The last user message."""
        return self.questions[-1]

    def as_json(self) -> list[dict[str, str]]:
        """The messages as chat templates and JSON take them."""
        return [{"role": m.role, "content": m.content} for m in self.messages]


Prompt: TypeAlias = str | Conversation


def asked(prompt: Prompt) -> str:
    """What a prompt asks: itself, or a conversation's last user message."""
    return prompt if isinstance(prompt, str) else prompt.asked


def questions(prompt: Prompt) -> tuple[str, ...]:
    """All that a prompt's user said, the last of them being what is asked."""
    return (prompt,) if isinstance(prompt, str) else prompt.questions


def joint_question(prompt: Prompt) -> str:
    """All that a prompt's user said, as one text."""
    return " ".join(questions(prompt))


def characters(prompt: Prompt) -> int:
    """How long a prompt is, with all that was said before."""
    return sum(len(message.content) for message in messages_of(prompt))


def messages_of(prompt: Prompt) -> tuple[Message, ...]:
    """A prompt as messages: a text is one user message."""
    return (Message("user", prompt),) if isinstance(prompt, str) else prompt.messages
