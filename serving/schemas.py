"""What may be asked over HTTP: the subset of OpenAI's interface, and this service's own questions.

Temperature is 0 where it is not given: that is how every version was gated. A field that would
change the answer and is not served is refused, never passed over in silence.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LONGEST_PROMPT, LONGEST_FIELD, MOST_ROWS = 8_000, 2_000, 64


def _text(value: str) -> str:
    """Text that can be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a character (a lone surrogate)") from None
    return value


def _words(value: str) -> str:
    if not value.strip():
        raise ValueError("must hold at least one word")
    return _text(value)


Prompt = Annotated[str, Field(max_length=LONGEST_PROMPT), AfterValidator(_words)]
Prompts = Annotated[list[Prompt], Field(min_length=1, max_length=MOST_ROWS)]
Stop = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_text)]
Name = Annotated[str, Field(max_length=200), AfterValidator(_text)]
Word = Annotated[str, Field(max_length=LONGEST_FIELD), AfterValidator(_words)]
Zero = Annotated[float, Field(ge=0, le=0)]


class Body(BaseModel):
    """A field that isn't known is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class StreamOptions(Body):
    """include_usage: end a stream with what was used."""

    include_usage: bool = False


class Sampling(Body):
    """What completions and chat have in common."""

    model: Name = Field(
        default="", description="champion (where empty), candidate, previous, base, a version's id"
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="0 where not given")
    top_p: float | None = Field(default=None, gt=0, le=1)
    n: int | None = Field(default=None, ge=1, le=MOST_ROWS)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Name | None = Field(default=None, description="taken and not used")
    presence_penalty: Zero | None = None
    frequency_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts at which an answer ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class CompletionRequest(Sampling):
    """`POST /v1/completions`."""

    prompt: Prompt | Prompts
    max_tokens: int | None = Field(
        default=None, ge=1, le=2**31, description="the model's own length where not given"
    )
    echo: Literal[False] | None = None
    logprobs: None = None
    best_of: Literal[1] | None = None
    suffix: None = None


class TextPart(Body):
    """A piece of a message."""

    type: Literal["text"]
    text: Prompt


class Message(Body):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Prompt | Annotated[list[TextPart], Field(min_length=1, max_length=16)]
    name: Name | None = None

    @property
    def text(self) -> str:
        """All of its text."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


class ChatRequest(Sampling):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=256)]
    max_tokens: int | None = Field(default=None, ge=1, le=2**31)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=2**31)
    logprobs: Literal[False] | None = None
    tools: Annotated[list[None], Field(max_length=0)] | None = None
    tool_choice: Literal["none"] | None = None


class InputRequest(Body):
    """`POST /v1/classify` and `POST /v1/route`."""

    model: Name = ""
    input: Prompt | Prompts


class FeedbackRequest(Body):
    """`POST /feedback`: what is wrong with an answer, and what is right."""

    answer: Annotated[str, Field(max_length=100), AfterValidator(_text)] | None = Field(
        default=None, description="id of the completion that it is about"
    )
    index: int = Field(default=0, ge=0, lt=MOST_ROWS, description="which choice of it")
    prompt: Prompt | None = Field(default=None, description="needed where `answer` is not known")
    target: Word | None = Field(default=None, description="the right answer, where it is known")
    subject: Word | None = Field(default=None, description="what the question is about")
    rephrases: Annotated[list[Prompt], Field(max_length=16)] = []
    comment: Annotated[str, Field(max_length=LONGEST_FIELD), AfterValidator(_text)] | None = None


class Problem(BaseModel):
    """What is wrong with a request."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """The body of every refusal, in OpenAI's shape."""

    error: Problem
