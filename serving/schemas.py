"""What may be asked over HTTP: the subset of OpenAI's interface, and this service's own questions.

Temperature is 0 where it is not given: that is how every version was gated.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag, model_validator

from serving.body import (
    LONGEST_FIELD,
    MOST_ROWS,
    Body,
    ClientBody,
    Name,
    ShortAnswer,
    Text,
    encodable,
)
from serving.messages import ChatMessage

Texts = Annotated[list[Text], Field(min_length=1, max_length=MOST_ROWS)]
TokenIds = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1, max_length=131_072)
]
Messages = Annotated[list[ChatMessage], Field(min_length=1, max_length=2048)]
Stop = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(encodable)]
Length = Annotated[int, Field(ge=1, le=2**31)]


def shape(value: Any) -> str:
    """Which of its forms an input has: by its first element, so that an error names one form only."""
    if not isinstance(value, list):
        return "one-text"
    first = value[0] if value else ""
    inner = first[0] if isinstance(first, list) and first else None
    if isinstance(first, dict | ChatMessage):
        return "one-conversation"
    if isinstance(first, list):
        return (
            "several-conversations"
            if isinstance(inner, dict | ChatMessage)
            else "several-token-ids"
        )
    return (
        "token-ids" if isinstance(first, int) and not isinstance(first, bool) else "several-texts"
    )


def by_shape(otherwise: str) -> Discriminator:
    """Tells the forms of an input apart. otherwise: what is said of one that has none of them."""
    return Discriminator(shape, custom_error_type="wrong_shape", custom_error_message=otherwise)


Completed = Annotated[
    Annotated[Text, Tag("one-text")]
    | Annotated[Texts, Tag("several-texts")]
    | Annotated[TokenIds, Tag("token-ids")]
    | Annotated[list[TokenIds], Field(max_length=MOST_ROWS), Tag("several-token-ids")],
    by_shape("give a text or token ids, or several"),
]
Routed = Annotated[
    Annotated[Text, Tag("one-text")]
    | Annotated[Texts, Tag("several-texts")]
    | Annotated[Messages, Tag("one-conversation")]
    | Annotated[list[Messages], Field(max_length=MOST_ROWS), Tag("several-conversations")],
    by_shape("give a text or messages, or several"),
]
TextOrMessages = Annotated[
    Annotated[Text, Tag("one-text")] | Annotated[Messages, Tag("one-conversation")],
    by_shape("give a text or messages"),
]
Stops = Annotated[
    Annotated[Stop, Tag("one-text")]
    | Annotated[list[Stop], Field(max_length=4), Tag("several-texts")],
    by_shape("give a text or up to four"),
]
SILENT = frozenset(
    "metadata parallel_tool_calls prediction priority prompt_cache_key prompt_cache_options "
    "prompt_cache_retention request_id safety_identifier service_tier store user".split()
)
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "add_special_tokens": (False,),
    "allowed_token_ids": ([],),
    "bad_words": ([],),
    "best_of": (1,),
    "chat_template_kwargs": ({},),
    "continue_final_message": (False,),
    "documents": ([],),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "include_stop_str_in_output": (False,),
    "length_penalty": (1,),
    "logit_bias": ({},),
    "min_p": (0,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "stop_token_ids": ([],),
    "suffix": ("",),
    "use_beam_search": (False,),
    "verbosity": ("medium",),
}


class StreamOptions(ClientBody):
    """include_usage: end a stream with what was used."""

    silent = frozenset({"include_obfuscation"})
    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {"continuous_usage_stats": (False,)}
    include_usage: bool = False


class GenerationRequest(ClientBody):
    """What completions, chat and responses have in common."""

    silent = SILENT
    neutral = NEUTRAL
    model: Name = Field(
        default="", description="champion (where empty), candidate, previous, base, a version's id"
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="0 where not given")
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, lt=2**31, description="all where 0 or -1")
    repetition_penalty: float | None = Field(default=None, gt=0, le=10, description="1: none")
    ignore_eos: bool | None = Field(
        default=None, description="go on to the full length, as load tests of vLLM ask for"
    )
    n: int | None = Field(default=None, ge=1, le=MOST_ROWS)
    stop: Stops | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    melo_explain: bool = Field(
        default=False, description="say more of the edit that answered: `melo.explain`"
    )

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts at which an answer ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def alternatives(self) -> int | None:
        """How many likely tokens to tell beside each one, None where not even its own likelihood."""
        return None


class CompletionRequest(GenerationRequest):
    """`POST /v1/completions`."""

    prompt: Completed
    max_tokens: Length | None = Field(default=None, description="the model's room where not given")
    logprobs: int | None = Field(default=None, ge=0, le=20)

    @property
    def alternatives(self) -> int | None:
        """As `logprobs` says."""
        return self.logprobs


class ChatRequest(GenerationRequest):
    """`POST /v1/chat/completions`."""

    messages: Messages
    max_tokens: Length | None = None
    max_completion_tokens: Length | None = Field(
        default=None, description="the model's room where not given"
    )
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20, description="needs logprobs")

    @classmethod
    def considered(cls, body: dict[str, Any]) -> dict[str, Any]:
        """Without tools that may not be called, and without a choice between none."""
        return without_idle_tools(body)

    @model_validator(mode="after")
    def _alternatives_need_logprobs(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs to be true")
        return self

    @property
    def alternatives(self) -> int | None:
        """As `top_logprobs` says."""
        return (self.top_logprobs or 0) if self.logprobs else None


def without_idle_tools(body: dict[str, Any]) -> dict[str, Any]:
    """A body without tools where none may be called, and without a choice where there are none."""
    choice = body.get("tool_choice")
    if choice == "none" or (choice in (None, "auto") and not body.get("tools")):
        return {k: v for k, v in body.items() if k not in ("tools", "tool_choice")}
    return body


class InputRequest(Body):
    """`POST /v1/classify` and `POST /v1/route`: `input`, or the `messages` of one conversation."""

    model: Name = ""
    input: Routed | None = None
    messages: Messages | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> InputRequest:
        if (self.input is None) == (self.messages is None):
            raise ValueError("give input or messages, one of both")
        return self


class FeedbackRequest(Body):
    """`POST /feedback`: what is wrong with an answer, and what is right."""

    answer: Annotated[str, Field(max_length=100), AfterValidator(encodable)] | None = Field(
        default=None, description="id of the completion that it is about"
    )
    index: int = Field(default=0, ge=0, lt=MOST_ROWS, description="which choice of it")
    prompt: TextOrMessages | None = Field(
        default=None, description="a text or messages; needed where `answer` is not known"
    )
    target: ShortAnswer | None = Field(
        default=None,
        description="the right answer, where it is known; a number or true and false as their text",
    )
    subject: ShortAnswer | None = Field(default=None, description="what the question is about")
    rephrases: Annotated[list[Text], Field(max_length=16)] = Field(default=[])
    comment: Annotated[str, Field(max_length=LONGEST_FIELD), AfterValidator(encodable)] | None = (
        None
    )


class Problem(BaseModel):
    """What is wrong with a request."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """The body of every refusal, in OpenAI's shape."""

    error: Problem
