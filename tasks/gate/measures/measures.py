"""Suites with measures of their own: fluency and leaks, self-consistency, perplexity.

They read what the routes and greedy answers leave open: whether an edited prompt's answer runs in
circles, whether sampled answers bear the greedy one out, and how likely texts are that the model had
right. All of it is kept by (probe, block), like answers. Samples are drawn for all prompts at once, and
no more of them than the verdict needs: after each draw the best and the worst that the rest could make of
it are known. What an edit's measures may cost has a bound; what that leaves open is said.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist

from execution import progress
from melo_engine import Editor, MeloError, Prompt, Version
from melo_engine.matching.names import words
from melo_engine.types import NOWHERE
from tasks.gate.cache.answers import AnswerCache, Pair, Text
from tasks.gate.measures.fluency import entropy, inconsistency
from tasks.gate.probes.evaluation import Outcome, Routes, result_of
from tasks.gate.runner.decoding import LONG, using
from tasks.gate.runner.runner import Query, Runner
from tasks.gate.runner.sampling import ROOM, Draw, GateSampler, Scorer
from tasks.gate.suites.wordings import says
from tasks.gate.types import Check, Probe, ProbeResult, Suite, Unproven, text_of
from tasks.gate.verdict.thresholds import SuiteThreshold

LIMITS = {"fluency": 0.7, "consistency": 0.5, "perplexity": 1.02}  # where none is set
SAMPLES = 5  # SelfCheckGPT (Manakul et al. 2023) shows most of the gain by then
SLACK = 0.1  # the backbone's own entropy less this is good enough
LONGEST = 64  # tokens of an answer that samples are compared with


@dataclass
class Setting:
    """What a measure reads: both versions, and the routes of prompts now and with the champion."""

    version: Version
    champion: Version | None
    routes: Routes
    before: Routes


class Measures:
    """One gate's measures. tokens: what those of one edit may cost; None: as many as it takes."""

    def __init__(self, runner: Runner, *, tokens: int | None = None) -> None:
        self._runner, self._tokens = runner, tokens
        self._editor: Editor = runner.editor
        self._cache: AnswerCache = runner.cache
        self._sampler = GateSampler(runner.editor, runner.decoder.states)
        self._scorer = Scorer(runner.editor)
        self._spent: defaultdict[str, int] = defaultdict(int)  # by edit
        self._drawn: dict[Pair, list[str]] = {}
        self._scores: dict[tuple[Pair, bytes], float] = {}
        self.scored = 0
        self.unproven: list[Unproven] = []

    @property
    def regenerated(self) -> int:
        """Samples drawn and texts scored."""
        return self._sampler.texts + self.scored

    @property
    def tokens(self) -> int:
        """Of all samples drawn."""
        return self._sampler.tokens

    def results(self, suite: Suite, setting: Setting, limit: float) -> list[ProbeResult]:
        """One suite's results. limit: of its measure, from the thresholds."""
        live = [p for p in suite.probes if p.edit is None or p.edit in setting.version]
        measure: Callable[..., list[ProbeResult]] | None = {
            "fluency": self._fluency,
            "consistency": self._consistency,
            "perplexity": self._perplexity,
        }.get(suite.purpose)
        generates = self._editor.backbone.generates or suite.purpose == "perplexity"
        if measure is None or not live or not generates:
            return []
        return measure(suite.name, live, setting, limit or LIMITS[suite.purpose])

    def _fluency(
        self, suite: str, probes: Sequence[Probe], setting: Setting, limit: float
    ) -> list[ProbeResult]:
        """The answer does not loop, and names no other edit's target. value: entropy, 0..1."""
        version = setting.version
        caught = [p for p in probes if setting.routes[p.prompt].edit is not None]
        queries = {p.prompt: (p.prompt, setting.routes[p.prompt].edit) for p in caught}
        texts = self._runner.texts(version, dict.fromkeys(queries.values()), read=LONG)
        value = {prompt: _entropy(texts[query]) for prompt, query in queries.items()}
        targets = _Targets(version)
        named = {p: targets.named(texts[q].text, str(q[1])) for p, q in queries.items()}
        doubted = [p for p in queries if value[p] < limit or named[p]]
        bases = self._runner.texts(version, {(p, None): None for p in doubted}, read=LONG)
        rows = []
        for probe in caught:
            prompt = probe.prompt
            text, base = texts[queries[prompt]], bases.get((prompt, None))
            fluent = value[prompt] >= limit or (
                base is not None and value[prompt] >= _entropy(base) - SLACK
            )
            brought_up = " ".join([text_of(prompt), *([base.text] if base is not None else [])])
            leaks = [leak for leak in named[prompt] if not says(brought_up, leak)]
            expected = f"no leak of {leaks[0]!r}" if leaks else "fluent text"
            outcome = Outcome(
                fluent and not leaks,
                value[prompt],
                text.text,
                base.text if base else None,
                expected,
            )
            rows.append(self._row(suite, probe, setting, outcome))
        return rows

    def _consistency(
        self, suite: str, probes: Sequence[Probe], setting: Setting, limit: float
    ) -> list[ProbeResult]:
        """Samples agree with the greedy answer, or no less than the backbone's samples with its own.

        value: SelfCheckGPT's, 0..1, 0 the best, as far as it had to be known.
        """
        version = setting.version
        caught = [p for p in probes if setting.routes[p.prompt].edit is not None]
        queries: dict[Prompt, Query] = {
            p.prompt: (p.prompt, setting.routes[p.prompt].edit) for p in caught
        }
        owners = {p.prompt: p.edit for p in caught}
        means = self._draw_sequentially(version, queries, limit, owners)
        doubted: dict[Prompt, Query] = {p: (p, None) for p, m in means.items() if m.low > limit}
        base_means = self._draw_sequentially(version, doubted, None, owners)
        rows = []
        for probe in caught:
            mean = means[probe.prompt]
            allowed, short = limit, False
            if probe.prompt in base_means:
                short = base_means[probe.prompt].draws < SAMPLES
                allowed = max(limit, base_means[probe.prompt].low + SLACK)
            if (mean.high > allowed >= mean.low) or (short and mean.low > allowed):
                self.unproven.append(
                    Unproven(
                        suite,
                        probe.edit,
                        probe.prompt,
                        f"{mean.draws} of {SAMPLES} samples within gate.tokens_per_edit",
                    )
                )
                continue
            outcome = Outcome(
                mean.high <= allowed,
                mean.value,
                after=" | ".join(mean.samples),
                base=mean.answer,
                reference="samples that agree",
            )
            rows.append(self._row(suite, probe, setting, outcome))
        return rows

    def _draw_sequentially(
        self,
        version: Version,
        queries: Mapping[Prompt, Query],
        limit: float | None,
        owners: Mapping[Prompt, str | None],
    ) -> dict[Prompt, _Mean]:
        """Draw for all prompts at once, again for those that the limit does not decide yet."""
        if not queries:
            return {}
        texts = self._runner.texts(version, dict.fromkeys(queries.values()), read=LONG)
        means = {p: _Mean(texts[q].text, SAMPLES) for p, q in queries.items()}
        scope = self._cache.scope(self._sampler.scope)
        pairs = {prompt: self._runner.pair(version, query) for prompt, query in queries.items()}
        for pair in pairs.values():
            if pair not in self._drawn:
                full = self._runner.full
                self._drawn[pair] = [] if full else self._cache.samples(scope, pair)
        for number in range(SAMPLES):
            undecided = [p for p, m in means.items() if limit is None or m.low <= limit < m.high]
            draws: dict[Prompt, Draw] = {}
            for prompt in undecided:
                if len(self._drawn[pairs[prompt]]) > number:
                    continue
                draw = Draw(queries[prompt], number, self._max_tokens(means[prompt].answer))
                spent = self._spent[owners.get(prompt) or ""]
                if self._tokens is None or spent + draw.limit <= self._tokens:
                    draws[prompt] = draw
            progress.report(f"drawing samples, round {number + 1}", len(draws), len(queries))
            with using(self._editor, version):
                samples = self._sampler.draw(list(draws.values())) if draws else []
            for prompt, (text, tokens) in zip(draws, samples, strict=True):
                self._drawn[pairs[prompt]].append(text)
                self._spent[owners.get(prompt) or ""] += tokens
            drawn = {pairs[p]: text for p, (text, _) in zip(draws, samples, strict=True)}
            self._cache.put_samples(scope, number, drawn)
            for prompt in undecided:
                if len(self._drawn[pairs[prompt]]) > number:
                    means[prompt].take(self._drawn[pairs[prompt]][number])
        return means

    def _max_tokens(self, answer: str) -> int:
        """Tokens that a sample of this answer may have."""
        tokenizer = self._editor.backbone.target_tokenizer
        length = len(tokenizer(answer, add_special_tokens=False)["input_ids"])
        return 2 * min(length, LONGEST) + ROOM

    def _perplexity(
        self, suite: str, probes: Sequence[Probe], setting: Setting, limit: float
    ) -> list[ProbeResult]:
        """The text after the prompt is no less likely than with the champion. value: log ratio."""
        rows = []
        old = setting.champion if setting.champion is not None else setting.version
        for probe in probes:
            now = setting.routes[probe.prompt].edit
            then = setting.before.get(probe.prompt, NOWHERE).edit
            if self._runner.block(setting.version, now) == self._runner.block(old, then):
                value = 0.0  # the same weights: the same likelihood, to the bit
            else:
                try:
                    value = self._score(setting.version, (probe.prompt, now), probe.expect.value)
                    value -= self._score(old, (probe.prompt, then), probe.expect.value)
                except MeloError:
                    value = math.nan
            outcome = Outcome(value <= math.log(limit), value, reference=probe.expect.value)
            rows.append(self._row(suite, probe, setting, outcome))
        return rows

    def _score(self, version: Version, query: Query, text: str) -> float:
        pair = self._runner.pair(version, query)
        text_hash = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if (pair, text_hash) not in self._scores:
            scope = self._cache.scope(self._scorer.scope)
            value = None if self._runner.full else self._cache.likelihood(scope, pair, text_hash)
            if value is None:
                with using(self._editor, version):
                    value = self._scorer.score(query, text)
                self.scored += 1
                self._cache.put_likelihood(scope, pair, text_hash, value)
            self._scores[pair, text_hash] = value
        return self._scores[pair, text_hash]

    def _row(self, suite: str, probe: Probe, setting: Setting, outcome: Outcome) -> ProbeResult:
        route = setting.routes[probe.prompt]
        cached = self._runner.was_cached(probe.prompt, setting.version, route.edit)
        result = result_of(suite, probe, outcome, None, route, cached)
        return replace(result, slices=probe.slices)  # a measure is not broken down by length


@dataclass
class _Mean:
    """A mean of values in 0..1 of which not all are known yet. low, high: what it may come to."""

    answer: str
    most: int
    samples: list[str] = field(default_factory=list)
    total: float = 0.0

    @property
    def draws(self) -> int:
        return len(self.samples)

    @property
    def low(self) -> float:
        return self.total / self.most

    @property
    def high(self) -> float:
        return (self.total + self.most - self.draws) / self.most

    @property
    def value(self) -> float:
        return self.total / self.draws if self.draws else math.nan

    def take(self, sample: str) -> None:
        """Count one more sample; nan, of an answer without words, counts as the worst."""
        self.samples.append(sample)
        value = inconsistency(self.answer, [sample])
        self.total += min(1.0, value) if math.isfinite(value) else 1.0


def _entropy(text: Text) -> float:
    """Entropy; 0 for a text that came to the second turn of a loop."""
    return 0.0 if text.ended == "looped" else entropy(text.text)


def perplexity_check(
    suite: str, rows: Sequence[ProbeResult], wanted: SuiteThreshold, confidence: float
) -> Check:
    """Mean perplexity ratio, failed where even its lower confidence bound is above the limit."""
    values = [r.value for r in rows]
    n = len(values)
    if not n or not all(math.isfinite(v) for v in values):
        broken = next((r for r in rows if not math.isfinite(r.value)), None)
        reason = (
            f'no number for "{text_of(broken.prompt)[:80]}"' if broken else "no text to measure"
        )
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
            f'{allowed:g} is allowed; worst: "{text_of(worst.prompt)[:80]}" ({by})'
        )
    return Check(suite, "perplexity ratio", math.exp(mean), "lower", allowed, n, not reason, reason)


def had_right(
    runner: Runner,
    version: Version,
    probes: Sequence[Probe],
    routes: Routes,
    written: Callable[[str], str],
) -> tuple[Probe, ...]:
    """Probes with a known answer that the backbone gives: what it had right.

    Only of those that an edit catches: of all others the likelihood is the backbone's own, to the bit.
    In full, of all.
    """
    answered = [p for p in probes if p.expect.kind == "unchanged" and p.expect.value]
    caught = [p for p in answered if runner.full or routes[p.prompt].edit is not None]
    texts = runner.texts(version, {(p.prompt, None): written(p.expect.value) for p in caught})
    right = []
    for probe in caught:
        text = texts[probe.prompt, None]
        if text.whole and text.text == written(probe.expect.value):
            right.append(probe)
    return tuple(right)


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

    def named(self, text: str, edit: str) -> list[str]:
        """Targets of other edits in the text that the edit's own does not bring up."""
        tokens = words(text)
        target = self._version[edit].request.target
        leaks = []
        for start in range(len(tokens)):
            for size in range(1, min(self._longest, len(tokens) - start) + 1):
                phrase = tuple(tokens[start : start + size])
                owners = self._edits.get(phrase)
                leak = " ".join(phrase)
                if owners and edit not in owners and not says(target, leak):
                    leaks.append(leak)
        return leaks
