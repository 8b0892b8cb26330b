"""What bodies of requests are made of: strict fields, and the few rules that all of them share.

A field that changes no answer is taken and left out. One that would change it and is not served is
refused by name, never passed over in silence.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

LONGEST_TEXT, LONGEST_FIELD, MOST_ROWS = 1_000_000, 2_000, 64


def encodable(value: str) -> str:
    """A text that can be written as UTF-8. Raises ValueError."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a character (a lone surrogate)") from None
    return value


def worded(value: str) -> str:
    """A text with a word in it. Raises ValueError."""
    if not value.strip():
        raise ValueError("must hold at least one word")
    return encodable(value)


def as_text(value: Any) -> Any:
    """A number or a truth value as its text, as the ledger takes it; anything else as it is."""
    return str(value) if isinstance(value, int | float) and math.isfinite(value) else value


Text = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(worded)]
Name = Annotated[str, Field(max_length=200), AfterValidator(encodable)]
ShortText = Annotated[str, Field(max_length=LONGEST_FIELD), AfterValidator(worded)]
ShortAnswer = Annotated[ShortText, BeforeValidator(as_text)]


class Body(BaseModel):
    """A field that isn't known is an error; one that is null is one that isn't there."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if value is not None}


class ClientBody(Body):
    """The body of a client that was written for another server.

    silent: fields that change no answer, whatever they hold. neutral: values that change none.
    """

    silent: ClassVar[frozenset[str]] = frozenset()
    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _drop_ineffective(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {k: v for k, v in cls.considered(body).items() if not cls._is_ineffective(k, v)}

    @classmethod
    def considered(cls, body: dict[str, Any]) -> dict[str, Any]:
        """The fields, without those that others make meaningless."""
        return body

    @classmethod
    def _is_ineffective(cls, name: str, value: Any) -> bool:
        if name in cls.model_fields:
            return False
        return name in cls.silent or value in cls.neutral.get(name, ())
