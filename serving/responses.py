"""OpenAI's responses, for text in and text out: `POST /v1/responses`.

Nothing is kept between requests, so a conversation is sent whole, as `input`; `instructions` are its
system message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from melo_engine import Prompt
from serving import logprobs
from serving.access import Ask, Serving
from serving.body import ShortText
from serving.errors import RequestRefused
from serving.exchange import Exchange, as_text
from serving.limits import error_body
from serving.messages import ChatMessage, Content, conversation
from serving.openai import STREAMED
from serving.schemas import (
    NEUTRAL,
    GenerationRequest,
    Length,
    TextOrMessages,
    without_idle_tools,
)

router = APIRouter(prefix="/v1", tags=["OpenAI"])
LOGPROBS = "message.output_text.logprobs"


class ResponseRequest(GenerationRequest):
    """`POST /v1/responses`."""

    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {
        **NEUTRAL,
        "background": (False,),
        "reasoning": ({}, {"effort": None}, {"effort": "none"}, {"effort": None, "summary": None}),
        "text": (
            {},
            {"format": {"type": "text"}},
            {"format": {"type": "text"}, "verbosity": "medium"},
        ),
        "truncation": ("disabled",),
    }
    silent = GenerationRequest.silent | {"max_tool_calls"}
    input: TextOrMessages
    instructions: Content | None = None
    max_output_tokens: Length | None = Field(
        default=None, description="the model's room where not given"
    )
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    include: Annotated[list[ShortText], Field(max_length=16)] | None = None
    metadata: dict[str, Any] | None = None

    @classmethod
    def considered(cls, body: dict[str, Any]) -> dict[str, Any]:
        """Without tools that may not be called."""
        return without_idle_tools(body)

    @property
    def alternatives(self) -> int | None:
        """As `top_logprobs` says, where they are included."""
        included = LOGPROBS in (self.include or ())
        return (self.top_logprobs or 0) if included or self.top_logprobs else None


@router.post("/responses", response_model=None, responses=STREAMED)
async def responses(
    body: ResponseRequest, request: Request, service: Serving, who: Ask
) -> Response:
    """Answer a text or a conversation."""
    unknown = [name for name in body.include or () if name != LOGPROBS]
    if unknown:
        raise RequestRefused(
            400, "invalid_request", f"include: only {LOGPROBS} is served.", param="include"
        )
    if body.n not in (None, 1):
        raise RequestRefused(400, "invalid_request", "n: a response has one answer.", param="n")
    exchange = await Exchange.begin(service, body, [_prompt(body)], body.max_output_tokens, "resp")
    writer = ResponseWriter(exchange, body)
    if body.stream:
        return await exchange.streamed(request, writer.events())
    return await exchange.whole(request, writer.response)


def _prompt(body: ResponseRequest) -> Prompt:
    items: Any = body.input
    messages = [ChatMessage(role="user", content=items)] if isinstance(items, str) else list(items)
    if body.instructions:
        messages.insert(0, ChatMessage(role="system", content=body.instructions))
    return conversation(messages, "input")


class ResponseWriter:
    """Writes one answer as a response."""

    def __init__(self, exchange: Exchange, body: ResponseRequest) -> None:
        self.exchange, self.body = exchange, body
        self.row = exchange.rows[0]
        self.item = "msg_" + exchange.identity.removeprefix("resp-")
        self.number = -1

    async def response(self) -> dict[str, Any]:
        """The response at its end."""
        [origin] = await self.exchange.origins()
        return self._response(self._status, [self._message(self._status)], origin)

    @property
    def _status(self) -> str:
        return "incomplete" if self.row.finish == "length" else "completed"

    def _response(
        self, status: str, output: list[Any], origin: dict[str, object] | None = None
    ) -> dict[str, Any]:
        body, exchange = self.body, self.exchange
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        response: dict[str, Any] = {
            "id": exchange.identity,
            "object": "response",
            "created_at": int(exchange.began),
            "status": status,
            "error": None,
            "incomplete_details": cut,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "model": exchange.model,
            "output": output,
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "temperature": body.temperature or 0.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_p": 1.0 if body.top_p is None else body.top_p,
            "truncation": "disabled",
            "metadata": body.metadata or {},
            "usage": None,
        }
        if origin is not None:
            response |= {"usage": self._usage, "melo": origin}
        return response

    @property
    def _usage(self) -> dict[str, Any]:
        prompt, answer = self.exchange.prompt_tokens, self.exchange.answer_tokens
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": self.exchange.cached_tokens},
            "output_tokens": answer,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + answer,
        }

    def _message(self, status: str) -> dict[str, Any]:
        content = [] if status == "in_progress" else [self._part(self.row.text)]
        return {
            "id": self.item,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def _part(self, text: str) -> dict[str, Any]:
        entries: list[Any] = []
        if text:
            entries = logprobs.of_chat(self.exchange.service.target_tokenizer, self.row.logprobs)
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": entries}

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events, from `response.created` to `response.completed` or `.incomplete`."""
        place = {"item_id": self.item, "output_index": 0, "content_index": 0}
        tokenizer = self.exchange.service.target_tokenizer
        try:
            for name in ("created", "in_progress"):
                yield self._event(f"response.{name}", response=self._response("in_progress", []))
            item = self._message("in_progress")
            yield self._event("response.output_item.added", output_index=0, item=item)
            yield self._event("response.content_part.added", **place, part=self._part(""))
            async for piece in self.exchange.pieces():
                entries = logprobs.of_chat(tokenizer, piece.tokens)
                yield self._event(
                    "response.output_text.delta", **place, delta=piece.text, logprobs=entries
                )
            response = await self.response()
            [message] = response["output"]
            [part] = message["content"]
            yield self._event(
                "response.output_text.done", **place, text=part["text"], logprobs=part["logprobs"]
            )
            yield self._event("response.content_part.done", **place, part=part)
            yield self._event("response.output_item.done", output_index=0, item=message)
            yield self._event(f"response.{self._status}", response=response)
        except RequestRefused as refused:
            problem = error_body(refused)["error"]
            del problem["type"]
            yield self._event("error", **problem)
        finally:
            self.exchange.abandon()

    def _event(self, kind: str, **content: Any) -> str:
        self.number += 1
        data = {"type": kind, "sequence_number": self.number, **content}
        return f"event: {kind}\ndata: {as_text(data)}\n\n"
