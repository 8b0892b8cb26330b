"""The subset of OpenAI's interface: completions, chat, models; whole or streamed.

Each choice carries `melo`: version, edit, block, distance and radius of its answer. The version is
also `system_fingerprint` and the header `melo-version`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from serving.access import Ask, Serving
from serving.errors import Refused
from serving.generation import Row
from serving.limits import error_body
from serving.loaded import Loaded
from serving.schemas import ChatRequest, CompletionRequest, Sampling
from serving.service import Service, origin_of

router = APIRouter(prefix="/v1", tags=["OpenAI"])
Pieces = asyncio.Queue[tuple[int, str] | None]  # (choice, text), None at the end
FINISH = {"stop": "stop", "length": "length", "late": "length", "cancelled": "stop"}


@dataclass
class Exchange:
    """One request on its way: what was asked, which version answers, how the answer is written."""

    service: Service
    loaded: Loaded
    rows: list[Row]
    prompt_tokens: int
    model: str
    chat: bool
    identity: str
    began: float

    @property
    def head(self) -> dict[str, Any]:
        """What every body and every chunk begins with."""
        return {
            "id": self.identity,
            "created": int(self.began),
            "model": self.model or self.loaded.id,
            "system_fingerprint": self.loaded.id,
        }

    @property
    def usage(self) -> dict[str, int]:
        """Tokens of prompts and answers."""
        answered = sum(len(row.tokens) for row in self.rows)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": answered,
            "total_tokens": self.prompt_tokens + answered,
        }

    def record(self) -> None:
        """Put the answers on record."""
        self.service.note(self.identity, self.loaded, self.rows, time.time() - self.began)


STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, or with `stream` its events.",
        "content": {"text/event-stream": {}, "application/json": {}},
    }
}


@router.post("/completions", response_model=None, responses=STREAMED)
async def completions(body: CompletionRequest, service: Serving, who: Ask) -> Response:
    """Answer one prompt or several."""
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    return await _answer(service, body, prompts, body.max_tokens, chat=False)


@router.post("/chat/completions", response_model=None, responses=STREAMED)
async def chat_completions(body: ChatRequest, service: Serving, who: Ask) -> Response:
    """Answer the last message, or the conversation in the model's template (`serve.chat`)."""
    length = body.max_completion_tokens or body.max_tokens
    return await _answer(service, body, [_asked(service, body)], length, chat=True)


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
    loaded.release()
    return _model(service, model, loaded.id)


def _model(service: Service, name: str, version: str) -> dict[str, Any]:
    return {
        "id": name, "object": "model", "created": service.started, "owned_by": "melo",
        "melo": {"version": version},
    }  # fmt: skip


def _asked(service: Service, body: ChatRequest) -> str:
    """The text that a conversation asks. An edit is found by its wording, so by default that is the
    last message alone, as `melo ask` would have it."""
    last = body.messages[-1]
    if last.role == "assistant":
        raise Refused(400, "no_question", "the last message is the assistant's.", param="messages")
    if service.limits.chat == "last":
        return last.text
    service.versions  # noqa: B018  raises where nothing is open yet
    if not getattr(service.tokenizer, "chat_template", None):
        raise Refused(
            400, "no_template", "the model has no chat template; set serve.chat to last.",
            param="messages",
        )  # fmt: skip
    turns = [{"role": m.role, "content": m.text} for m in body.messages]
    try:
        return str(
            service.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        )
    except Exception as error:  # a template may refuse an order of roles in any way it likes
        raise Refused(
            400, "template_refused", f"the model's template refuses it: {type(error).__name__}.",
            param="messages",
        ) from None  # fmt: skip


async def _answer(
    service: Service, body: Sampling, prompts: list[str], max_tokens: int | None, *, chat: bool
) -> Response:
    if not service.versions.backbone.generates:
        raise Refused(400, "no_generator", "the model names classes; ask /v1/classify.")
    began = time.time()
    rows, prompt_tokens = service.rows(
        prompts, n=body.n or 1, max_tokens=max_tokens, temperature=body.temperature or 0.0,
        top_p=body.top_p or 1.0, seed=body.seed, stop=body.stops,
    )  # fmt: skip
    loaded = await service.take(body.model, prompts[0])
    identity = ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12)
    exchange = Exchange(
        service, loaded, rows, prompt_tokens, body.model, chat, identity, began
    )  # fmt: skip
    headers = {"melo-version": loaded.id}
    if body.stream:
        usage = bool(body.stream_options and body.stream_options.include_usage)
        pieces: Pieces = asyncio.Queue()
        for index, row in enumerate(rows):
            row.on_text = _to(pieces, index)
        # Queued here, so that a full queue is a 429 and the version is released in any case.
        future = service.submit("generate", loaded, rows)
        future.add_done_callback(lambda done: pieces.put_nowait(None))
        events = _stream(exchange, future, pieces, usage)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)
    await service.wait(service.submit("generate", loaded, rows), rows)
    exchange.record()
    content = {
        **exchange.head,
        "object": "chat.completion" if chat else "text_completion",
        "choices": [_choice(exchange, index, row) for index, row in enumerate(rows)],
        "usage": exchange.usage,
    }
    text = json.dumps(content, ensure_ascii=False)
    return Response(text, media_type="application/json", headers=headers)


def _choice(exchange: Exchange, index: int, row: Row) -> dict[str, Any]:
    said: dict[str, Any] = {"text": row.text}
    if exchange.chat:
        said = {"message": {"role": "assistant", "content": row.text, "refusal": None}}
    return {
        "index": index, **said, "logprobs": None, "finish_reason": FINISH[row.finish or "length"],
        "melo": origin_of(exchange.loaded, row),
    }  # fmt: skip


async def _stream(
    exchange: Exchange, future: asyncio.Future[None], pieces: Pieces, usage: bool
) -> AsyncIterator[str]:
    """Server-sent events: pieces of text as they settle, then how each choice ended, then [DONE]."""
    rows = exchange.rows
    try:
        if exchange.chat:
            for index in range(len(rows)):
                yield _chunk(exchange, index, {"delta": {"role": "assistant", "content": ""}})
        while (piece := await pieces.get()) is not None:
            index, text = piece
            said = {"delta": {"content": text}} if exchange.chat else {"text": text}
            yield _chunk(exchange, index, said)
        await exchange.service.wait(future, rows)
        for index, row in enumerate(rows):
            empty: dict[str, Any] = {"delta": {}} if exchange.chat else {"text": ""}
            ended = {
                **empty,
                "finish_reason": FINISH[row.finish or "length"],
                "melo": origin_of(exchange.loaded, row),
            }
            yield _chunk(exchange, index, ended)
        exchange.record()
        if usage:
            yield _event({**_head(exchange), "choices": [], "usage": exchange.usage})
        yield "data: [DONE]\n\n"
    except Refused as refused:
        yield _event(error_body(refused))
    finally:
        for row in rows:
            row.cancelled = True  # a client that left; those that ended do not mind


def _to(pieces: Pieces, index: int) -> Callable[[str], None]:
    return lambda text: pieces.put_nowait((index, text))


def _head(exchange: Exchange) -> dict[str, Any]:
    kind = "chat.completion.chunk" if exchange.chat else "text_completion"
    return {**exchange.head, "object": kind}


def _chunk(exchange: Exchange, index: int, said: dict[str, Any]) -> str:
    choice = {"index": index, "logprobs": None, "finish_reason": None, **said}
    return _event({**_head(exchange), "choices": [choice]})


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
