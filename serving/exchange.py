"""One request on its way: its rows are queued on one version, its answer is waited for or streamed.

begin ──► rows ──► version taken ──┬─ whole      until every row has ended
                                   └─ streamed   until the routes are known, then piece by piece
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from melo_engine import Prompt
from serving.errors import RequestRefused, client_gone
from serving.explain import explanation
from serving.loaded import Loaded
from serving.rows import BatchRow
from serving.sampling import Sampling, TokenLogprob
from serving.schemas import GenerationRequest
from serving.service import AnsweringService, origin_of


@dataclass(frozen=True)
class Piece:
    """More of one choice's text, and the tokens that were told with it."""

    choice: int
    text: str
    tokens: Sequence[TokenLogprob]


@dataclass
class Exchange:
    """What was asked, which version answers, and what is said about it."""

    service: AnsweringService
    loaded: Loaded
    rows: list[BatchRow]
    prompt_tokens: int
    model: str
    identity: str
    explains: bool
    began: float = field(default_factory=time.time)
    _pieces: asyncio.Queue[Piece | None] = field(default_factory=asyncio.Queue)
    _future: asyncio.Future[None] | None = None
    _told = False  # a stream's text is on its way, and neither on record nor refused

    @classmethod
    async def begin(
        cls,
        service: AnsweringService,
        body: GenerationRequest,
        prompts: Sequence[Prompt | list[int]],
        max_tokens: int | None,
        prefix: str,
    ) -> Exchange:
        """Make rows of a request and take its version. Raises RequestRefused."""
        if not service.versions.backbone.generates:
            raise RequestRefused(400, "no_generator", "the model names classes; ask /v1/classify.")
        began = time.time()
        encoded = await service.encode(prompts)
        sampling = Sampling(
            body.temperature or 0.0,
            1.0 if body.top_p is None else body.top_p,
            body.top_k or 0,
            body.repetition_penalty or 1.0,
            body.stops,
            body.alternatives,
            bool(body.ignore_eos),
        )
        rows = service.rows(encoded, sampling, n=body.n or 1, max_tokens=max_tokens, seed=body.seed)
        loaded = await service.take(body.model, encoded[0].prompt)
        return cls(
            service,
            loaded,
            rows,
            sum(len(prompt.ids) for prompt in encoded),
            body.model or loaded.id,
            f"{prefix}-{secrets.token_hex(12)}",
            body.melo_explain,
            began,
        )

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompts whose states were at hand from earlier ones, each prompt once."""
        return sum({id(row.ids): row.cached_tokens for row in self.rows}.values())

    @property
    def answer_tokens(self) -> int:
        """Tokens of all answers, without those that end them."""
        return sum(len(row.tokens) for row in self.rows)

    @property
    def headers(self) -> dict[str, str]:
        """Version and edits for those who read no body."""
        edits = dict.fromkeys(row.route.edit for row in self.rows if row.route and row.route.edit)
        headers = {"melo-version": self.loaded.id}
        if edits:
            headers["melo-edit"] = ",".join(quote(edit, safe="") for edit in edits)
        return headers

    async def whole(
        self, request: Request, body: Callable[[], Awaitable[dict[str, Any]]]
    ) -> Response:
        """Wait until all rows have ended, put them on record, then write the answer by `body`.

        Raises RequestRefused.
        """
        future = self.service.submit("generate", self.loaded, self.rows)
        async with self._abandoning(request):
            await self.service.wait(future, self.rows)
        if any(row.finish == "cancelled" for row in self.rows):
            raise client_gone()
        self._record()
        self.service.shadow(self.identity, self.loaded, self.rows)
        content = as_text(await body())
        return Response(content, media_type="application/json", headers=self.headers)

    async def streamed(self, request: Request, events: AsyncIterator[str]) -> Response:
        """Wait until the routes are known and the answer is on its way. Raises RequestRefused."""
        for index, row in enumerate(self.rows):
            row.on_text = self._sender(index)
        self._future = self.service.submit("generate", self.loaded, self.rows)
        self._future.add_done_callback(lambda done: self._pieces.put_nowait(None))
        async with self._abandoning(request):
            first = await self._pieces.get()
        if first is None:  # it ended before it began
            await self.service.wait(self._future, self.rows)
            self._pieces.put_nowait(None)
        return StreamingResponse(events, media_type="text/event-stream", headers=self.headers)

    async def pieces(self) -> AsyncIterator[Piece]:
        """Text as it settles, for `streamed`; then the answers are on record. Raises RequestRefused."""
        assert self._future is not None
        while (piece := await self._pieces.get()) is not None:
            if piece.text or piece.tokens:
                self._told = True
                yield piece
        self._told = False
        await self.service.wait(self._future, self.rows)
        self._record()
        self.service.shadow(self.identity, self.loaded, self.rows)

    def abandon(self) -> None:
        """Nobody listens any more; rows that have ended do not mind.

        A stream that its reader has stopped is on record with what was told: it may be reported.
        """
        for row in self.rows:
            row.cancelled = True
        if self._told:
            self._told = False
            self._record()

    @asynccontextmanager
    async def _abandoning(self, request: Request) -> AsyncIterator[None]:
        """Within the block, abandon the rows as soon as the client has gone."""

        async def listen() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            self.abandon()

        listening = asyncio.create_task(listen())
        try:
            yield
        finally:
            listening.cancel()

    async def origins(self) -> list[dict[str, object]]:
        """Where each answer came from, explained where that was asked for."""
        origins = [origin_of(self.loaded, row) for row in self.rows]
        if self.explains:
            versions = self.service.versions
            for origin in origins:
                origin["explain"] = await explanation(versions, self.loaded, origin["edit"])
        return origins

    def _record(self) -> None:
        self.service.note(self.identity, self.loaded, self.rows, time.time() - self.began)

    def _sender(self, index: int) -> Callable[[str, Sequence[TokenLogprob]], None]:
        return lambda text, tokens: self._pieces.put_nowait(Piece(index, text, tokens))


def as_text(content: Any) -> str:
    """JSON as it is sent."""
    return json.dumps(content, ensure_ascii=False)
