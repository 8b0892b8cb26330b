"""Suites with measures of their own: fluency and leaks, self-consistency, perplexity.

They read what the routes and greedy answers leave open: what comes when an edited prompt is left to
run on, whether sampled answers bear the greedy one out, and how likely texts are that the model had
right. All of it is cached by (probe, block), like answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist

from melo_engine import Editor, MeloError, Route, Version
from melo_engine.matching.names import words
from tasks.gate.about import says
from tasks.gate.answering import Answerer
from tasks.gate.cache import AnswerCache
from tasks.gate.desk import Desk
from tasks.gate.fluency import entropy, inconsistency
from tasks.gate.routing import NOWHERE
from tasks.gate.sampling import Sampler, Scorer, scored
from tasks.gate.thresholds import SuiteThreshold
from tasks.gate.types import Check, Probe, ProbeResult, Purpose, Suite

LIMITS = {"fluency": 0.7, "consistency": 0.5, "perplexity": 1.02}  # where none is set
LONG = 100  # tokens of a long free generation, as in ROME
SLACK = 0.1  # the backbone's own entropy less this is good enough
Routes = Mapping[str, Route]


class Measures:
    """One gate's measures. `extra` desks are made on first use: most gates need few of them."""

    def __init__(self, editor: Editor, cache: AnswerCache, full: bool) -> None:
        self._editor, self._cache, self._full = editor, cache, full
        self._desks: dict[str, Desk] = {}
        self._by_purpose: dict[Purpose, Callable[..., list[ProbeResult]]] = {
            "fluency": self._fluency,
            "consistency": self._consistency,
            "perplexity": self._perplexity,
        }

    @property
    def regenerated(self) -> int:
        """Texts made by all measures."""
        return sum(d.regenerated for d in self._desks.values())

    @property
    def cached(self) -> int:
        """Texts that were known."""
        # Greedy answers were made or found by the gate itself.
        return sum(len(d.from_cache) for name, d in self._desks.items() if name != "greedy")

    def results(
        self,
        suite: Suite,
        version: Version,
        champion: Version | None,
        routes: Routes,
        champion_routes: Routes,
        limit: float,
    ) -> list[ProbeResult]:
        """One suite's results. limit: of its measure, from the thresholds."""
        live = [p for p in suite.probes if p.edit is None or p.edit in version]
        measure = self._by_purpose.get(suite.purpose)
        if measure is None or not live:
            return []
        limit = limit or LIMITS[suite.purpose]
        return measure(suite.name, live, version, champion, routes, champion_routes, limit)

    def _fluency(
        self, suite: str, probes: Sequence[Probe], version: Version, champion: Version | None,
        routes: Routes, champion_routes: Routes, limit: float,
    ) -> list[ProbeResult]:  # fmt: skip
        """Runs in no circles, and names no other edit's target. value: entropy, 0..1."""
        if not self._editor.backbone.generates:
            return []
        desk = self._desk("long", lambda: Answerer(self._editor, _long(self._editor)))
        asked = [(p.prompt, routes[p.prompt].edit) for p in probes]
        texts = desk.answers(version, [*asked, *((p.prompt, None) for p in probes)])
        targets = _Targets(version)
        rows = []
        for probe, (prompt, edit) in zip(probes, asked, strict=True):
            text, base = texts[prompt, edit], texts[prompt, None]
            value = entropy(text)
            fluent = value >= min(limit, entropy(base) - SLACK)
            leaks = targets.leaked(text, edit, f"{prompt} {base}") if edit else []
            expected = f"no leak of {leaks[0]!r}" if leaks else "fluent text"
            rows.append(
                _row(suite, probe, expected, base, text, fluent and not leaks, routes, desk,
                     version, value)
            )  # fmt: skip
        return rows

    def _consistency(
        self, suite: str, probes: Sequence[Probe], version: Version, champion: Version | None,
        routes: Routes, champion_routes: Routes, limit: float,
    ) -> list[ProbeResult]:  # fmt: skip
        """Samples bear the greedy answer out, or no less than the backbone's do its own.

        value: SelfCheckGPT's, 0..1, 0 the best.
        """
        if not self._editor.backbone.generates:
            return []
        caught = [p for p in probes if routes[p.prompt].edit is not None]
        desk = self._desk("sampled", lambda: Sampler(self._editor))
        greedy = self._desk("greedy", lambda: Answerer(self._editor))
        asked = [(p.prompt, routes[p.prompt].edit) for p in caught]
        base = [(p.prompt, None) for p in caught]
        answers = greedy.answers(version, [*asked, *base])
        samples = desk.answers(version, [*asked, *base])
        rows = []
        for probe, ask in zip(caught, asked, strict=True):
            value = inconsistency(answers[ask], json.loads(samples[ask]))
            own = inconsistency(answers[ask[0], None], json.loads(samples[ask[0], None]))
            allowed = max(limit, own + SLACK) if math.isfinite(own) else limit
            rows.append(
                _row(suite, probe, "samples that agree", answers[ask], samples[ask],
                     value <= allowed, routes, desk, version, value)
            )  # fmt: skip
        return rows

    def _perplexity(
        self, suite: str, probes: Sequence[Probe], version: Version, champion: Version | None,
        routes: Routes, champion_routes: Routes, limit: float,
    ) -> list[ProbeResult]:  # fmt: skip
        """The text after the prompt is no less likely than with the champion. value: log ratio."""
        desk = self._desk("likelihood", lambda: Scorer(self._editor))
        rows = []
        for probe in probes:
            now = routes[probe.prompt].edit
            then = champion_routes.get(probe.prompt, NOWHERE).edit
            old = champion if champion is not None else version
            if desk.block(version, now) == desk.block(old, then):
                value = 0.0  # the same weights: the same likelihood, to the bit
            else:
                asked = scored(probe.prompt, probe.expect.value)
                try:
                    new = desk.answers(version, [(asked, now)])[asked, now]
                    before = desk.answers(old, [(asked, then)])[asked, then]
                    value = float(new) - float(before)
                except MeloError:
                    value = math.nan
            rows.append(
                _row(suite, probe, probe.expect.value, None, None, value <= math.log(limit),
                     routes, desk, version, value)
            )  # fmt: skip
        return rows

    def _desk(self, name: str, asker: Callable[[], Answerer | Sampler | Scorer]) -> Desk:
        if name not in self._desks:
            self._desks[name] = Desk(
                self._editor, self._cache, full=self._full and name != "greedy", asker=asker()
            )
        return self._desks[name]


def perplexity_check(
    suite: str, rows: Sequence[ProbeResult], wanted: SuiteThreshold, confidence: float
) -> Check:
    """Mean perplexity ratio, failed where even its lower confidence bound is above the limit."""
    values = [r.value for r in rows]
    n = len(values)
    if not n or not all(math.isfinite(v) for v in values):
        broken = next((r for r in rows if not math.isfinite(r.value)), None)
        reason = f'no number for "{broken.prompt[:80]}"' if broken else "no text to measure"
        return Check(suite, "perplexity ratio", math.nan, "lower", wanted.limit, n, False, reason)
    allowed = wanted.limit or LIMITS["perplexity"]
    mean = sum(values) / n
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / max(1, n - 1) / n)
    low = math.exp(mean - NormalDist().inv_cdf(confidence) * spread)
    reason = ""
    if not low <= allowed:
        worst = max(rows, key=lambda r: r.value)
        by = f"edit {worst.edit}" if worst.edit else "the backbone"
        reason = (
            f"texts are {math.exp(mean):.3f} times as surprising, at least {low:.3f}; "
            f'{allowed:g} is allowed; worst: "{worst.prompt[:80]}" ({by})'
        )
    return Check(suite, "perplexity ratio", math.exp(mean), "lower", allowed, n, not reason, reason)


def had_right(results: Sequence[ProbeResult], probes: Sequence[Probe], written: Callable[[str], str]
) -> tuple[Probe, ...]:  # fmt: skip
    """Probes with a known answer that the backbone gives: what it had right."""
    bases = {r.probe_id: r.expected for r in results}
    return tuple(
        p for p in probes
        if p.expect.kind == "unchanged" and p.expect.value and bases.get(p.id) is not None
        and bases[p.id] == written(p.expect.value)
    )  # fmt: skip


class _Targets:
    """Targets of a version's edits, to be found in long texts."""

    def __init__(self, version: Version) -> None:
        self._edits: dict[tuple[str, ...], set[str]] = {}
        self._longest = 0
        for edit in version.edits.values():
            target = tuple(words(edit.request.target))
            if sum(map(len, target)) >= 4:  # "no", "12", "US" turn up in any text
                self._edits.setdefault(target, set()).add(edit.id)
                self._longest = max(self._longest, len(target))
        self._version = version

    def leaked(self, text: str, edit: str, known: str) -> list[str]:
        """Targets of other edits in the text that neither prompt nor backbone brought up."""
        found = words(text)
        own = self._version[edit].request.target
        leaks = []
        for start in range(len(found)):
            for size in range(1, min(self._longest, len(found) - start) + 1):
                phrase = tuple(found[start : start + size])
                owners = self._edits.get(phrase)
                said = " ".join(phrase)
                if owners and edit not in owners and not says(f"{known} {own}", said):
                    leaks.append(said)
        return leaks


def _long(editor: Editor) -> dict[str, int]:
    backbone = editor.backbone
    if backbone.task != "causal-lm":
        return {}  # an encoder-decoder ends by itself: its longest answer is its free text
    return {"max_new_tokens": min(LONG, max(16, backbone.max_prompt_tokens // 4))}


def _row(
    suite: str, probe: Probe, expected: str, before: str | None, after: str | None, passed: bool,
    routes: Routes, desk: Desk, version: Version, value: float,
) -> ProbeResult:  # fmt: skip
    route = routes[probe.prompt]
    return ProbeResult(
        suite, probe.id, probe.prompt, expected, before, after, passed, route.edit,
        desk.was_cached(probe.prompt, version, route.edit), route.distance, value,
        None, probe.slices,
    )  # fmt: skip
