"""Messages of a conversation as clients send them.

    content      a text, parts of text, or null, as in an answer without words
    sent back    the service's own answers, with all the empty fields that clients keep of them
    refused      parts that are no text, calls of tools: by their name

What changes nothing is left out; what would change the answer and is not done is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from melo_engine import Conversation
from melo_engine.errors import PromptError
from serving.body import Body, Name, encodable
from serving.errors import RequestRefused

TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
SILENT_IN_PART = {"annotations", "cache_control", "logprobs"}
SILENT = set(
    "annotations cache_control id reasoning reasoning_content reasoning_details status".split()
)


def text_of(content: Any) -> Any:
    """The text of a message's content; what is no content is left for the type to refuse."""
    if content is None:
        return ""
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    return encodable(content) if isinstance(content, str) else content


def _part(part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    field = TEXT_PARTS.get(kind) if isinstance(kind, str) else None
    if field is None:
        name = kind if isinstance(kind, str) and kind.isidentifier() and len(kind) <= 40 else "?"
        raise ValueError(f'content part "{name}" is not served; send parts of type text')
    unknown = [
        k for k, v in part.items() if k not in {"type", field, *SILENT_IN_PART} and v is not None
    ]
    if unknown or not isinstance(part.get(field), str):
        raise ValueError(f'a content part of type {kind} has a text "{field}" and nothing else')
    return encodable(part[field])


Content = Annotated[
    str,
    BeforeValidator(text_of),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "null"},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                        "required": ["type", "text"],
                    },
                },
            ]
        }
    ),
]


class ChatMessage(Body):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content = ""
    name: Name | None = None
    type: Literal["message"] = "message"

    @model_validator(mode="before")
    @classmethod
    def _drop_ineffective(cls, message: Any) -> Any:
        if not isinstance(message, dict):
            return message
        fields = {
            k: v
            for k, v in message.items()
            if k in ("role", "content")
            or not (v is None or k in SILENT or (k, v) == ("tool_calls", []))
        }
        refusal = fields.pop("refusal", None)
        if fields.get("content") is None and refusal is not None:
            fields["content"] = refusal
        return fields


def conversation(messages: Sequence[ChatMessage], param: str = "messages") -> Conversation:
    """What the engine is asked. Raises RequestRefused (400) where no user message holds a word."""
    try:
        return Conversation.of([{"role": m.role, "content": m.content} for m in messages])
    except PromptError as error:
        raise RequestRefused(400, "no_question", str(error), param=param) from None
