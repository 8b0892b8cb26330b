"""The subset of OpenAI's interface: completions, chat, models; whole or streamed.

Each choice carries `melo`: version, edit, block, distance and radius of its answer. The version is
also `system_fingerprint` and the header `melo-version`; the edits are the header `melo-edit`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from melo_engine import Prompt
from serving import logprobs
from serving.access import Ask, Serving
from serving.errors import RequestRefused
from serving.exchange import Exchange, as_text
from serving.generation import answer_room
from serving.limits import error_body
from serving.messages import conversation
from serving.rows import BatchRow
from serving.sampling import TokenLogprob
from serving.schemas import ChatRequest, CompletionRequest, GenerationRequest
from serving.service import AnsweringService

router = APIRouter(prefix="/v1", tags=["OpenAI"])
FINISH = {"stop": "stop", "length": "length", "late": "length", "cancelled": "stop"}
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, or with `stream` its events.",
        "content": {"text/event-stream": {}, "application/json": {}},
    }
}


@router.post("/completions", response_model=None, responses=STREAMED)
async def completions(
    body: CompletionRequest, request: Request, service: Serving, who: Ask
) -> Response:
    """Answer one prompt or several, as texts or as token ids."""
    return await _answer(service, request, body, _prompts(body), body.max_tokens, chat=False)


@router.post("/chat/completions", response_model=None, responses=STREAMED)
async def chat_completions(
    body: ChatRequest, request: Request, service: Serving, who: Ask
) -> Response:
    """Answer a conversation, which the model reads whole in its own template."""
    length = body.max_completion_tokens or body.max_tokens
    return await _answer(service, request, body, [conversation(body.messages)], length, chat=True)


@router.get("/models/", include_in_schema=False)
@router.get("/models")
async def models(service: Serving, who: Ask) -> dict[str, Any]:
    """What can be named as `model` and is open now."""
    served = service.versions.serving()
    listed = {name: loaded.id for name, loaded in served.items()}
    listed[service.versions.name] = served["champion"].id
    return {"object": "list", "data": [_model(service, *item) for item in listed.items()]}


@router.get("/models/{model:path}")
async def model(model: str, service: Serving, who: Ask) -> dict[str, Any]:
    """One of them, by its name or a version's id."""
    loaded = await service.take(model, "")
    return _model(service, model, loaded.id)


def _model(service: AnsweringService, name: str, version: str) -> dict[str, Any]:
    backbone = service.versions.backbone
    longest = answer_room(backbone, 0)
    return {
        "id": name,
        "object": "model",
        "created": service.started,
        "owned_by": "melo",
        "root": backbone.name,
        "parent": None,
        "permission": [],
        "max_model_len": longest if longest < 2**31 else None,
        "melo": {"version": version},
    }


def _prompts(body: CompletionRequest) -> list[Prompt | list[int]]:
    prompt: Any = body.prompt
    single = isinstance(prompt, str) or isinstance(prompt[0], int)
    return [prompt] if single else list(prompt)


@dataclass(frozen=True)
class CompletionWriter:
    """How answers are written: as chat or as completions."""

    exchange: Exchange
    chat: bool

    @property
    def head(self) -> dict[str, Any]:
        """What every body and every chunk begins with."""
        exchange = self.exchange
        return {
            "id": exchange.identity,
            "created": int(exchange.began),
            "model": exchange.model,
            "system_fingerprint": exchange.loaded.id,
        }

    @property
    def usage(self) -> dict[str, Any]:
        """Tokens of prompts, template and all, and of answers."""
        prompt, answer = self.exchange.prompt_tokens, self.exchange.answer_tokens
        return {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
            "prompt_tokens_details": {"cached_tokens": self.exchange.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }

    async def body(self) -> dict[str, Any]:
        """The body of an answer in one piece."""
        origins = await self.exchange.origins()
        return {
            **self.head,
            "object": "chat.completion" if self.chat else "text_completion",
            "choices": [
                self._choice(index, row, origin)
                for index, (row, origin) in enumerate(zip(self.exchange.rows, origins, strict=True))
            ],
            "usage": self.usage,
        }

    def _choice(self, index: int, row: BatchRow, origin: dict[str, object]) -> dict[str, Any]:
        content: dict[str, Any] = {"text": row.text}
        if self.chat:
            content = {"message": {"role": "assistant", "content": row.text, "refusal": None}}
        return {
            "index": index,
            **content,
            "logprobs": self._logprobs(row, row.logprobs),
            "finish_reason": FINISH[row.finish or "length"],
            "melo": origin,
        }

    async def events(self, usage: bool) -> AsyncIterator[str]:
        """Server-sent events: text as it settles, then how each choice ended, then [DONE]."""
        exchange, between = self.exchange, {"usage": None} if usage else {}
        written = [0] * len(exchange.rows)
        try:
            if self.chat:
                for index in range(len(exchange.rows)):
                    role = {"delta": {"role": "assistant", "content": ""}}
                    yield self._chunk(index, role, between)
            async for piece in exchange.pieces():
                content = {"delta": {"content": piece.text}} if self.chat else {"text": piece.text}
                row = exchange.rows[piece.choice]
                likelihoods = self._logprobs(row, piece.tokens, written[piece.choice])
                written[piece.choice] += len(piece.text)
                yield self._chunk(piece.choice, {**content, "logprobs": likelihoods}, between)
            origins = await exchange.origins()
            for index, (row, origin) in enumerate(zip(exchange.rows, origins, strict=True)):
                empty: dict[str, Any] = {"delta": {}} if self.chat else {"text": ""}
                ended = {**empty, "finish_reason": FINISH[row.finish or "length"], "melo": origin}
                yield self._chunk(index, ended, between)
            if usage:
                yield _event({**self._head_of_chunk, "choices": [], "usage": self.usage})
            yield "data: [DONE]\n\n"
        except RequestRefused as refused:
            yield _event(error_body(refused))
        finally:
            exchange.abandon()

    def _logprobs(
        self, row: BatchRow, tokens: Sequence[TokenLogprob], begin: int = 0
    ) -> dict[str, Any] | None:
        if row.sampling.alternatives is None:
            return None
        tokenizer = self.exchange.service.target_tokenizer
        if self.chat:
            return {"content": logprobs.of_chat(tokenizer, tokens), "refusal": None}
        return logprobs.of_completion(tokenizer, tokens, begin)

    @property
    def _head_of_chunk(self) -> dict[str, Any]:
        return {**self.head, "object": "chat.completion.chunk" if self.chat else "text_completion"}

    def _chunk(self, index: int, content: dict[str, Any], between: dict[str, Any]) -> str:
        choice = {"index": index, "logprobs": None, "finish_reason": None, **content}
        return _event({**self._head_of_chunk, "choices": [choice], **between})


async def _answer(
    service: AnsweringService,
    request: Request,
    body: GenerationRequest,
    prompts: Sequence[Prompt | list[int]],
    max_tokens: int | None,
    *,
    chat: bool,
) -> Response:
    exchange = await Exchange.begin(
        service, body, prompts, max_tokens, "chatcmpl" if chat else "cmpl"
    )
    writer = CompletionWriter(exchange, chat)
    if body.stream:
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return await exchange.streamed(request, writer.events(usage))
    return await exchange.whole(request, writer.body)


def _event(content: dict[str, Any]) -> str:
    return f"data: {as_text(content)}\n\n"
