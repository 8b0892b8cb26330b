"""This service's own questions: which class, which edit, and what was wrong with an answer."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

from fastapi import APIRouter

from melo_engine import Prompt
from serving.access import Ask, Report, Serving
from serving.errors import RequestRefused
from serving.feedback import put, report
from serving.jobs import Kind
from serving.loaded import Loaded
from serving.messages import ChatMessage, conversation
from serving.rows import BatchRow
from serving.schemas import FeedbackRequest, InputRequest
from serving.service import AnsweringService, origin_of

router = APIRouter(tags=["melo"])


@router.post("/v1/classify")
async def classify(body: InputRequest, service: Serving, who: Ask) -> dict[str, Any]:
    """Name the class of one text or several, with the score of each class."""
    if service.versions.backbone.generates:
        raise RequestRefused(400, "no_classifier", "the model writes text; ask /v1/completions.")
    began = time.perf_counter()
    rows, loaded = await _run(service, body, "classify")
    identity = "class-" + secrets.token_hex(12)
    service.note(identity, loaded, rows, time.perf_counter() - began)
    results = [
        {"index": i, "label": row.label, "scores": row.scores, "melo": origin_of(loaded, row)}
        for i, row in enumerate(rows)
    ]
    return {"id": identity, "object": "list", "model": loaded.id, "data": results}


@router.post("/v1/route")
async def route(body: InputRequest, service: Serving, who: Ask) -> dict[str, Any]:
    """Which edit would answer, without an answer: for servers that hold the blocks as adapters."""
    rows, loaded = await _run(service, body, "route")
    results = [{"index": i, **origin_of(loaded, row)} for i, row in enumerate(rows)]
    return {"object": "list", "model": loaded.id, "data": results}


@router.post("/feedback", status_code=201)
async def feedback(body: FeedbackRequest, service: Serving, who: Report) -> dict[str, Any]:
    """Report a wrong answer. It lies in the inbox when this returns; the pipeline takes it from there.

    What intake could not use is refused with the reason.
    """
    answer = service.memory.find(body.answer, body.index)
    line = report(body, answer, f"feedback/{who}", service.settings.ingest)
    await asyncio.to_thread(put, service.settings.paths.inbox, line)
    return {"id": line["id"], "answer": line.get("answer"), "prompt_known": answer is not None}


async def _run(
    service: AnsweringService, body: InputRequest, kind: Kind
) -> tuple[list[BatchRow], Loaded]:
    prompts = _prompts(body)
    rows = service.rows(await service.encode(prompts))
    loaded = await service.take(body.model, prompts[0])
    await service.wait(service.submit(kind, loaded, rows), rows)
    return rows, loaded


def _prompts(body: InputRequest) -> list[Prompt]:
    """A text, a conversation, or several of either. Raises RequestRefused."""
    inputs: Any = body.messages if body.input is None else body.input
    if isinstance(inputs, str):
        return [inputs]
    if isinstance(inputs[0], ChatMessage):
        return [conversation(inputs, "input" if body.messages is None else "messages")]
    return [item if isinstance(item, str) else conversation(item, "input") for item in inputs]
