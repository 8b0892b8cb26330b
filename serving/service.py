"""The service behind the HTTP interface: from a question and its settings to answers on record.

question ──► version (taken once) ──► rows ──► batch ──► answers ──► metrics, traffic, memory
                                                            └──► shadow: the candidate, later
"""

from __future__ import annotations

import asyncio
import copy
import logging
import random
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from artifacts.route import route_as_json
from artifacts.tags import CANDIDATE, CHAMPION
from config import Settings
from melo_engine import Backbone, Prompt
from melo_engine.conversation import asked, characters
from melo_engine.types import NOWHERE
from serving.batching import Batcher
from serving.champion import LoadedVersions, share_of
from serving.errors import RequestRefused
from serving.feedback import Memory, RecentAnswer
from serving.generation import answer_room, prompt_room, usual_length
from serving.jobs import GenerationJob, Kind
from serving.keys import KeyStore
from serving.limits import Rate
from serving.loaded import Loaded
from serving.metrics import Metrics
from serving.prompts import EncodedPrompt, as_json, encoded
from serving.rows import PLAIN, BatchRow
from serving.sampling import Sampling
from serving.traffic import TrafficLog

LONG = 20_000  # characters from which on a prompt is tokenized beside the event loop
log = logging.getLogger("melo.serving")


class AnsweringService:
    """One backbone and its versions, served. Start it in the event loop that asks it.

    open_backbone: opens the frozen model. model_name: its registered model in MLflow.
    """

    def __init__(
        self,
        settings: Settings,
        open_backbone: Callable[[], Backbone],
        model_name: Callable[[Backbone], str],
    ) -> None:
        self.settings, self.limits = settings, settings.serve
        self._open_backbone, self._model_name = open_backbone, model_name
        self.metrics = Metrics()
        self.keys = KeyStore(settings.paths.keys)
        self.rate = Rate(self.limits.requests_per_minute)
        self.memory = Memory(self.limits.remember)
        self.started = int(time.time())
        self.failure: BaseException | None = None
        self._ready = threading.Event()
        self._versions: LoadedVersions | None = None
        self._batcher: Batcher | None = None
        self._shadows: set[asyncio.Task[None]] = set()
        self._unanswered: dict[asyncio.Future[None], list[BatchRow]] = {}
        self._stopping = False
        folder = settings.paths.traffic
        self.traffic = self._log(folder)
        self.differences = self._log(folder / "shadow") if self.limits.shadow > 0 else None

    def start(self, loop: asyncio.AbstractEventLoop, failed: Callable[[], None]) -> None:
        """Open the backbone and the champion in a thread; `failed` is called where that is hopeless."""

        def run() -> None:
            try:
                backbone = self._open_backbone()
                versions = LoadedVersions(
                    self.settings, backbone, self._model_name(backbone), self.metrics
                )
                # Copies of its own: used beside batches.
                self.tokenizer = copy.deepcopy(backbone.tokenizer)
                self.target_tokenizer = copy.deepcopy(backbone.target_tokenizer)
                self._batcher = Batcher(self.limits, self.metrics, loop, backbone)
                self._versions = versions
                versions.watch(self._ready.set)
            except BaseException as error:
                self.failure = error
                failed()

        threading.Thread(target=run, name="melo-start", daemon=True).start()

    def refuse_unanswered(self) -> None:
        """Let nobody wait any longer: each request without a whole answer is told to come back (503)."""
        self._stopping = True
        for future, rows in list(self._unanswered.items()):
            for row in rows:
                row.cancelled = True
            _settle(future, _stopping())

    def close(self) -> None:
        """Answer what is being answered, refuse the rest, write the record."""
        self._ready.clear()
        if self._batcher is not None:
            self._batcher.close()
        if self._versions is not None:
            self._versions.close()
        for record in (self.traffic, self.differences):
            if record is not None:
                record.close()

    @property
    def ready(self) -> bool:
        """Whether a version is open and questions are taken."""
        return self._ready.is_set()

    @property
    def versions(self) -> LoadedVersions:
        """The open versions. Raises RequestRefused (503) before the first is open."""
        if not self._ready.is_set() or self._versions is None:
            raise RequestRefused(503, "not_ready", "no version is open yet.", retry_after=2)
        return self._versions

    async def take(self, name: str, prompt: Prompt) -> Loaded:
        """The version that is to answer. Raises RequestRefused."""
        share = share_of(asked(prompt)) if self.limits.canary > 0 else 1.0
        loaded = self.versions.at_hand(name, share)
        if loaded is not None:
            return loaded
        return await asyncio.to_thread(self.versions.take, name, share)

    async def encode(self, prompts: Sequence[Prompt | list[int]]) -> list[EncodedPrompt]:
        """Prompts as the model reads them, each at least one token. Raises RequestRefused."""
        backbone = self.versions.backbone
        limit = prompt_room(backbone, self.settings.backbone.max_prompt_tokens)
        work = partial(encoded, backbone, self.tokenizer, prompts, limit)
        size = sum(len(p) if isinstance(p, list) else characters(p) for p in prompts)
        return work() if size < LONG else await asyncio.to_thread(work)

    def rows(
        self,
        prompts: Sequence[EncodedPrompt],
        sampling: Sampling | None = None,
        *,
        n: int = 1,
        max_tokens: int | None = None,
        seed: int | None = None,
    ) -> list[BatchRow]:
        """Rows for n answers to each prompt; max_tokens None: the model's room. Raises RequestRefused."""
        backbone, most = self.versions.backbone, self.limits.max_batch
        if len(prompts) * n > most:
            raise RequestRefused(
                400,
                "too_many",
                f"{len(prompts) * n} answers in one request; this service gives {most}. Ask for less.",
                param="n" if n > 1 else "prompt",
            )
        seed = secrets.randbits(62) if seed is None else seed
        deadline = time.monotonic() + self.limits.request_seconds
        rows: list[BatchRow] = []
        for prompt in prompts:
            length = min(
                max_tokens or usual_length(backbone, len(prompt.ids)),
                self.limits.max_tokens or sys.maxsize,
                answer_room(backbone, len(prompt.ids)),
            )
            for _ in range(n):
                rows.append(
                    BatchRow(
                        prompt.prompt,
                        prompt.ids,
                        length,
                        sampling or PLAIN,
                        _seed(seed, len(rows)),
                        deadline,
                        max_tokens is None,
                    )
                )
        return rows

    def submit(self, kind: Kind, loaded: Loaded, rows: list[BatchRow]) -> asyncio.Future[None]:
        """Queue rows on a version that `take` gave.

        The future fails with RequestRefused where the time is up or the service stops. Raises
        RequestRefused where the queue is full.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._batcher is None:
            raise RequestRefused(503, "not_ready", "no version is open yet.", retry_after=2)
        if self._stopping:
            raise _stopping()
        self._batcher.submit(GenerationJob(kind, loaded, rows, partial(_settle, future)))
        self._unanswered[future] = rows
        future.add_done_callback(self._unanswered.pop)
        return future

    async def wait(self, future: asyncio.Future[None], rows: list[BatchRow]) -> None:
        """Wait until a job is done; a caller that stops waiting cancels it. Raises RequestRefused."""
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            for row in rows:
                row.cancelled = True
            raise
        if any(row.finish == "late" for row in rows):
            raise RequestRefused(
                504,
                "too_late",
                f"the answer was not complete after {self.limits.request_seconds:g} s; ask for less.",
            )

    def note(self, identity: str, loaded: Loaded, rows: Sequence[BatchRow], seconds: float) -> None:
        """Put answers on record."""
        for index, row in enumerate(rows):
            text = row.text if row.label is None else row.label
            origin = origin_of(loaded, row)
            self.metrics.answer(row.route.edit if row.route else None, len(row.tokens))
            if self.limits.remember:
                self.memory.keep(identity, index, RecentAnswer(row.prompt, text, origin))
            if self.traffic is not None:
                line = {"id": identity, **origin, "seconds": round(seconds, 6)}
                if self.limits.record_prompts:
                    line |= {"prompt": as_json(row.prompt), "answer": text}
                self.traffic.add(line)

    def shadow(self, identity: str, loaded: Loaded, rows: Sequence[BatchRow]) -> None:
        """Ask the candidate the same, for a share of the questions and only while nobody waits."""
        if self.differences is None or self._batcher is None or rows[0].scores is not None:
            return
        candidate = self.versions.serving().get(CANDIDATE)
        champion = self.versions.serving().get(CHAMPION)
        if candidate is None or loaded is not champion or rows[0].sampling.temperature > 0:
            return
        if random.random() >= self.limits.shadow or not self._batcher.idle:
            return
        task = asyncio.create_task(self._compare(identity, candidate, list(rows)))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _compare(self, identity: str, candidate: Loaded, rows: list[BatchRow]) -> None:
        again = [
            BatchRow(r.prompt, r.ids, r.max_tokens, r.sampling, deadline=time.monotonic() + 10)
            for r in rows
        ]
        try:
            await self.wait(self.submit("generate", candidate, again), again)
        except Exception as error:  # a shadow falls on nobody
            log.debug("a shadow answer failed: %s", type(error).__name__)
            return
        assert self.differences is not None
        for row, other in zip(rows, again, strict=True):
            same = row.text == other.text
            self.metrics.shadow.labels(str(same).lower()).inc()
            line: dict[str, Any] = {
                "id": identity,
                "candidate": candidate.id,
                "same": same,
                "edit": row.route.edit if row.route else None,
                "candidate_edit": other.route.edit if other.route else None,
            }
            if self.limits.record_prompts:
                answers = {"answer": row.text, "candidate_answer": other.text}
                line |= {"prompt": as_json(row.prompt), **answers}
            self.differences.add(line)

    def _log(self, folder: Path) -> TrafficLog | None:
        if not self.limits.record:
            return None
        return TrafficLog(folder, self.limits.record_days, self.metrics.unrecorded.inc)


def origin_of(loaded: Loaded, row: BatchRow) -> dict[str, object]:
    """Version, edit, block, distance and radius of one answer."""
    return {"version": loaded.id, **route_as_json(row.route or NOWHERE)}


def _seed(seed: int, number: int) -> int:
    """A seed of its own for each row."""
    return (seed + number * 0x9E3779B97F4A7C15) % 2**63


def _stopping() -> RequestRefused:
    return RequestRefused(503, "stopping", "the service is stopping.", retry_after=5)


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    elif isinstance(error, RequestRefused):
        future.set_exception(error)
    else:
        future.set_exception(
            RequestRefused(500, "answer_failed", "the answer failed; it is in the log.")
        )
    if error is not None:
        future.exception()  # one that nobody awaits any more must not complain
