"""A real server in a thread of this process, and a real one in a process of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from config import Settings
from execution.versions import Versions
from melo_engine import Backbone
from registry.store import Registry
from serving.server import Server, build
from serving.service import AnsweringService
from tests.conftest import PEOPLE, SUBJECTS

EDITED = [f"who leads {subject} ?" for subject in SUBJECTS[:2]]
UNEDITED = ["what is a city ?", f"tell me a name in {SUBJECTS[5]} now", "who is the new head ?"]
ANSWERS = dict(zip(EDITED, PEOPLE, strict=False))
# In the second version another answers for the first subject, and a third subject is known.
SECOND = {EDITED[0]: "eva", EDITED[1]: PEOPLE[1], f"who leads {SUBJECTS[2]} ?": PEOPLE[2]}


def tuned(settings: Settings, **serve: Any) -> Settings:
    """The same home with other settings of its service."""
    return settings.model_copy(update={"serve": settings.serve.model_copy(update=serve)})


class Running:
    """A server that runs in a thread."""

    def __init__(self, server: Server, service: AnsweringService) -> None:
        self.server, self.service = server, service
        self.url = server.url

    def client(self, key: str | None = None) -> httpx.Client:
        """A client of it."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def ask(self, prompt: str, **more: Any) -> dict[str, Any]:
        """One completion, which must succeed."""
        with self.client() as client:
            answer = client.post("/v1/completions", json={"prompt": prompt, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def running(
    settings: Settings, open_it: Callable[[], Backbone] | None = None, *, ready: bool = True
) -> Iterator[Running]:
    """Serve a home on any free port until the block ends."""
    settings = tuned(settings, port=0, reload_seconds=0.1)
    service = AnsweringService(
        settings, open_it or (lambda: Versions(settings).backbone), Registry(settings).name_for
    )
    server = build(service)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: bool(server.url))
        if ready:
            until(lambda: service.ready or service.failure is not None)
        yield Running(server, service)
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


def until(met: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that has to happen."""
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def point(settings: Settings, alias: str, number: str) -> None:
    """Move an alias of the home's registered model."""
    registry = Registry(settings)
    registry.set_alias(registry.name_for(Versions(settings).backbone), alias, number)
