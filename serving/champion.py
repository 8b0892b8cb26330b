"""Which versions are open, and which of them answers: the champion, followed as its alias moves.

    watch, every second:  alias ──► number ──► hash ──► open, verify, warm ──► put in place at once
                                                  └── unusable: the old one goes on, loudly

A request takes hold of one version when it comes in and keeps it to its end, so no answer mixes
two. A version that was replaced stays open as one of the last `serve.pinned` that are not served any
more, and is let go with its last request once there are newer ones.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from artifacts.tags import CANDIDATE, CHAMPION, PREVIOUS
from config import Settings
from melo_engine import Backbone
from registry.errors import RegistryError
from registry.lookup import RegisteredModel
from serving.errors import RequestRefused, ServingError, VersionUnusable
from serving.loaded import BASE, Loaded
from serving.metrics import Metrics
from serving.opening import open_version

ALIASES = (CHAMPION, CANDIDATE, PREVIOUS)
_HASH = re.compile(r"[0-9a-f]{8,64}")
SAY_AGAIN = 60.0  # seconds between two reports of one trouble
TRY_AGAIN = 15.0  # seconds until a version that was unusable is looked at again
log = logging.getLogger("melo.serving")


class LoadedVersions:
    """The versions that one service holds open."""

    def __init__(self, settings: Settings, backbone: Backbone, name: str, metrics: Metrics) -> None:
        self.settings, self.backbone, self.name = settings, backbone, name
        self.registry = RegisteredModel(settings, name)
        self.metrics = metrics
        self.trouble: str | None = None
        self._lock = threading.RLock()
        self._following = threading.Lock()
        self._open: OrderedDict[str, Loaded] = OrderedDict()  # by number, "" for the backbone
        self._aliases: dict[str, str] = {}  # as the registry has them
        self._served: dict[str, Loaded] = {}  # by alias: what answers
        self._refused: dict[str, tuple[str, float]] = {}  # by number: why, and until when
        self._reported: tuple[str, float] = ("", 0.0)  # the last trouble, and when
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self) -> None:
        """Look at the aliases once and serve what they name.

        Raises RegistryError, VersionUnusable; what served before goes on.
        """
        with self._following:
            aliases = self.registry.aliases()
            old = self._served.get(CHAMPION)
            if CHAMPION not in aliases and old is not None and not old.base:
                raise VersionUnusable(
                    f"the alias champion of {self.name} is gone; promote a version."
                )
            served: dict[str, Loaded] = {BASE: self._opened("")}
            served[CHAMPION] = self._opened(aliases.get(CHAMPION, ""))
            with self._lock:
                self._aliases = aliases
                before, self._served = self._served.get(CHAMPION), served
            if before is not served[CHAMPION]:
                self.metrics.champion(served[CHAMPION].id)
                log.warning("version %s serves now", served[CHAMPION].id[:12])
            try:
                self._follow_candidate(aliases)
            finally:
                self._close_unused()

    def _follow_candidate(self, aliases: dict[str, str]) -> None:
        wanted = self.settings.serve.canary > 0 or self.settings.serve.shadow > 0
        number = aliases.get(CANDIDATE)
        if not wanted or number is None or number == aliases.get(CHAMPION):
            return
        candidate = self._opened(number)
        with self._lock:
            self._served = {**self._served, CANDIDATE: candidate}

    def watch(self, started: Callable[[], None]) -> None:
        """Follow the aliases in a thread of its own; `started` is called once the first is served."""

        def run() -> None:
            ready = False
            while not self._end.is_set():
                ready = self._look() or ready
                if ready:
                    started()
                    break
                self._end.wait(self.settings.serve.reload_seconds)
            while not self._end.wait(self.settings.serve.reload_seconds):
                self._look()

        self._thread = threading.Thread(target=run, name="melo-champion", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and let every version go."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        with self._lock:
            self._open.clear()

    def serving(self) -> dict[str, Loaded]:
        """What answers now, by alias."""
        with self._lock:
            return dict(self._served)

    def take(self, name: str, share: float = 1.0) -> Loaded:
        """The version that a request names. share: 0..1 of the request, below the canary share the
        candidate answers in the champion's place.

        Opens a version that is asked for by its hash or as previous, so call it in a thread for
        those that `at_hand` does not know. Raises RequestRefused.
        """
        at_hand = self.at_hand(name, share)
        if at_hand is not None:
            return at_hand
        if self.settings.serve.pinned == 0:
            raise _unknown(name)
        with self._following:
            number = self._number_of(name)
            try:
                loaded = self._opened(number)
            except VersionUnusable as error:
                raise RequestRefused(409, "version_unusable", str(error), param="model") from None
            with self._lock:
                self._open.move_to_end(number)
            self._close_unused()
            return loaded

    def at_hand(self, name: str, share: float = 1.0) -> Loaded | None:
        """Like `take`, None where the version would have to be opened first. Raises RequestRefused."""
        with self._lock:
            if not self._served:
                raise RequestRefused(503, "not_ready", "no version is open yet.", retry_after=2)
            if name in ("", CHAMPION, self.name):
                canary = self._served.get(CANDIDATE)
                if name != CHAMPION and canary is not None and share < self.settings.serve.canary:
                    return canary
                return self._served[CHAMPION]
            if name in self._served:
                return self._served[name]
            for number, loaded in self._open.items():
                if name == loaded.id:
                    self._open.move_to_end(number)
                    return loaded
        if name not in ALIASES and not _HASH.fullmatch(name):
            raise _unknown(name)
        return None

    def _number_of(self, name: str) -> str:
        try:
            if name in ALIASES:
                number = self._aliases.get(name)
            else:
                registered = self.registry.by_hash(name)
                number = registered.number if registered else None
        except RegistryError as error:
            raise RequestRefused(503, "registry_unreachable", str(error), retry_after=5) from None
        if number is None:
            raise _unknown(name)
        return number

    def _opened(self, number: str) -> Loaded:
        """The version of this number, opened where it is not. Never half: verified, then warmed."""
        with self._lock:
            loaded = self._open.get(number)
            refused, until = self._refused.get(number, ("", 0.0))
        if loaded is not None:
            return loaded
        if time.monotonic() < until:
            raise VersionUnusable(refused)
        began = time.monotonic()
        try:
            loaded = self._warmed(number)
        except VersionUnusable as error:
            now = time.monotonic()
            refused_still = {n: why for n, why in self._refused.items() if now < why[1]}
            self._refused = {**refused_still, number: (str(error), now + TRY_AGAIN)}
            raise
        self.metrics.open_seconds.observe(time.monotonic() - began)
        with self._lock:
            self._open[number] = loaded
        return loaded

    def _warmed(self, number: str) -> Loaded:
        """Open and ask once; what fails at it leaves nothing behind. Raises VersionUnusable."""
        version = open_version(self.registry, number, self.backbone) if number else None
        try:
            loaded = Loaded(self.backbone, version, number or None)
            loaded.warm()
        except Exception as error:  # out of memory, or whatever a damaged model may raise
            which = f"version {number} of {self.name}" if number else f"the backbone of {self.name}"
            log.debug("warming failed", exc_info=True)
            raise VersionUnusable(f"{which} can't answer: {type(error).__name__}.") from None
        return loaded

    def _close_unused(self) -> None:
        """Keep what serves, and of the others the last few that served or were asked for by name."""
        with self._lock:
            served = set(self._served.values())
            unused = [n for n, loaded in self._open.items() if loaded not in served]
            surplus = len(unused) - self.settings.serve.pinned
            for number in unused[: max(0, surplus)]:
                del self._open[number]

    def _look(self) -> bool:
        """Follow once; report trouble once a minute at most."""
        try:
            self.follow()
        except (ServingError, RegistryError) as error:
            self._report(str(error))
        except Exception as error:  # the thread must live: without it no rollback is ever seen
            self._report(f"{type(error).__name__} while a version was opened")
            log.debug("following failed", exc_info=True)
        else:
            if self.trouble is not None:
                log.warning("the trouble is over: the champion is served as the registry names it")
            self.trouble = None
        self.metrics.reload_trouble.set(self.trouble is not None)
        return bool(self._served)

    def _report(self, trouble: str) -> None:
        self.trouble = trouble
        reported, at = self._reported
        now = time.monotonic()
        if reported != trouble or now - at >= SAY_AGAIN:
            champion = self._served.get(CHAMPION)
            goes_on = f"version {champion.id[:12]} goes on" if champion else "nothing is served"
            log.error("%s; %s", trouble, goes_on)
            self._reported = (trouble, now)


def share_of(prompt: str) -> float:
    """Where a prompt falls between 0 and 1, always the same: one question, one version."""
    return random.Random(prompt).random()


def _unknown(name: str) -> RequestRefused:
    shown = name if len(name) <= 80 else name[:80] + "..."
    return RequestRefused(
        404,
        "model_not_found",
        f'model "{shown}" is not served. GET /v1/models lists what is.',
        param="model",
    )
