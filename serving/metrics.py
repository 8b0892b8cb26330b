"""What Prometheus reads: counters of requests, answers, batches and reloads. No text of anybody."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self._requests = Counter("melo_requests", "HTTP requests.", ("path", "status"), registry=r)
        self._seconds = Histogram(
            "melo_request_seconds",
            "From the request to its answer.",
            ("path",),
            buckets=SECONDS,
            registry=r,
        )
        answers = Counter("melo_answers", "Answers given.", ("by",), registry=r)
        self._answers = {by: answers.labels(by) for by in ("edit", "backbone")}
        self._tokens = Counter("melo_tokens", "Tokens generated.", registry=r)
        self.batch_rows = Histogram(
            "melo_batch_rows", "Answers in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=r
        )
        self.waiting = Gauge("melo_waiting", "Answers that wait for a batch.", registry=r)
        self._champion = Gauge("melo_champion", "1 for what serves.", ("version",), registry=r)
        self.reload_trouble = Gauge(
            "melo_reload_trouble",
            "1 while the champion of the registry can't be served.",
            registry=r,
        )
        self.open_seconds = Histogram("melo_open_seconds", "To open a version.", registry=r)
        self.shadow = Counter(
            "melo_shadow", "Questions that the candidate answered too.", ("same",), registry=r
        )
        self.unrecorded = Counter(
            "melo_unrecorded", "Answers that the traffic record has no line for.", registry=r
        )

    def request(self, path: str, status: int, seconds: float) -> None:
        """One HTTP request. path: the route's template, never what was asked for."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def answer(self, edit: str | None, tokens: int) -> None:
        """One answer."""
        self._answers["backbone" if edit is None else "edit"].inc()
        if tokens:
            self._tokens.inc(tokens)

    def champion(self, version: str) -> None:
        """Another version serves."""
        self._champion.clear()
        self._champion.labels(version).set(1)

    def text(self) -> bytes:
        """All of it, in Prometheus' format."""
        return generate_latest(self.registry)
