"""Ask a version all probes and say of each whether it passed. What can't differ costs no text.

unchanged, absent   no block acts ──► passed: the answer is the backbone's own
                    a block acts  ──► decoded beside the backbone until they part
exact, agrees       decoded until the text departs from what it must be
contains, regex, metric                          the whole text
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from melo_engine import Backbone, MeloError, Prompt, Route, Version
from tasks.gate.probes.expectations import met
from tasks.gate.results import ProbeResults
from tasks.gate.runner.decoding import LONG
from tasks.gate.runner.runner import Query, Runner, references_of, same
from tasks.gate.suites.wordings import says
from tasks.gate.types import Expectation, Probe, ProbeResult, Suite, text_of

Routes = Mapping[Prompt, Route]
Case = tuple[Prompt, Expectation]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of all suites, and where each prompt went in the version."""

    results: dict[str, ProbeResults]
    routes: Routes


@dataclass(frozen=True, slots=True)
class Outcome:
    """One probe in one version. after, base: texts as far as they were needed, None where not at all."""

    passed: bool
    value: float = math.nan
    after: str | None = None
    base: str | None = None
    reference: str | None = None


UNTOUCHED = Outcome(True)  # no block acts: the answer is the backbone's, which is what is asked for


def evaluate(
    runner: Runner,
    suites: Sequence[Suite],
    version: Version,
    champion: Version | None,
    compared: Mapping[str, bool],
    earlier: Evaluation | None = None,
) -> Evaluation:
    """Ask all probes whose edit is in force.

    compared: suites whose results are compared with the champion's. earlier: of the same suites and
    champion, before repair: what goes where it went is taken over.
    """
    live = {s.name: in_force(s, version) for s in suites}
    prompts = prompts_of(p for probes in live.values() for p in probes)
    # The champion's are asked for first: the version's own routes are built upon them.
    before = runner.router.mapped(champion, prompts) if champion is not None else {}
    routes = runner.router.mapped(version, prompts)
    settled = _settled(earlier, live, routes)
    fresh = {
        name: [p for p in probes if (name, p.id) not in settled] if settled else probes
        for name, probes in live.items()
    }
    outcomes = outcomes_of(runner, version, [p for ps in fresh.values() for p in ps], routes)
    old: dict[Case, Outcome] = {}
    if champion is not None:
        probes_compared = [p for name, ps in fresh.items() if compared.get(name) for p in ps]
        old = _outcomes_before(runner, version, champion, probes_compared, routes, before)
    results: dict[str, ProbeResults] = {}
    for name, probes in live.items():
        rows = {}
        for place, probe in enumerate(probes):
            result = settled.get((name, probe.id))
            case = probe.prompt, probe.expect
            if result is None and (case in outcomes or case in old):
                now, route = outcomes.get(case, UNTOUCHED), routes[probe.prompt]
                then = _before(probe, champion, old.get(case) or now)
                cached = now.after is None or runner.was_cached(probe.prompt, version, route.edit)
                result = result_of(name, probe, now, then, route, cached)
            if result is not None:
                rows[place] = result
        results[name] = ProbeResults(len(probes), rows, _untouched(name, probes, routes, champion))
    return Evaluation(results, routes)


def outcomes_of(
    runner: Runner, version: Version, probes: Sequence[Probe], routes: Routes
) -> dict[Case, Outcome]:
    """What becomes of each (prompt, expectation) in a version. No text is made that can't differ.

    What is answered as by the backbone and needs no more is left out: it is `UNTOUCHED`.
    """
    written = Written(runner.editor.backbone)
    outcomes: dict[Case, Outcome] = {}
    by_kind: dict[str, dict[Case, None]] = defaultdict(dict)
    unrouted: dict[Case, None] = {}
    for p in probes:
        if p.expect.kind not in ("unchanged", "absent") or routes[p.prompt].edit:
            by_kind[p.expect.kind][p.prompt, p.expect] = None
        elif runner.full:
            unrouted[p.prompt, p.expect] = None
    if unrouted:
        texts = runner.texts(version, {(prompt, None): None for prompt, _ in unrouted}, read=LONG)
        for case in unrouted:
            answer = texts[case[0], None].text
            outcomes[case] = Outcome(True, math.nan, answer, answer, answer)

    def compare(references: Mapping[Case, str]) -> None:
        """Whether each answer is its reference. Decoded no further than that takes."""
        queries = {case: (case[0], routes[case[0]].edit) for case in references}
        texts = runner.texts(
            version, references_of((queries[case], until) for case, until in references.items())
        )
        for case, reference in references.items():
            text = texts[queries[case]]
            passed = text.whole and met(case[1], text.text, None, reference)[0]
            outcomes[case] = Outcome(passed, after=text.text, reference=reference)

    compare({case: written[case[1].value] for case in by_kind["exact"]})

    unchanged = {case: (case[0], str(routes[case[0]].edit)) for case in by_kind["unchanged"]}
    pairs = runner.beside_base(version, list(dict.fromkeys(unchanged.values())))
    for case, query in unchanged.items():
        base, edited = pairs[query]
        outcomes[case] = Outcome(same(base, edited), math.nan, edited.text, base.text, base.text)

    full = [case for kind in ("contains", "regex", "metric") for case in by_kind[kind]]
    absent, agrees = by_kind["absent"], by_kind["agrees"]
    texts = runner.texts(version, {(p, routes[p].edit): None for p, _ in full})
    long_queries: dict[Query, str | None] = {(p, routes[p].edit): None for p, _ in absent}
    long_queries |= {(e.value, routes[e.value].edit): None for _, e in agrees}
    texts |= runner.texts(version, long_queries, read=LONG)
    leaked = [(p, e) for p, e in absent if says(texts[p, routes[p].edit].text, e.value)]
    bases = runner.texts(version, {(p, None): None for p, _ in leaked}, read=LONG)
    for prompt, expect in [*full, *absent]:
        after = texts[prompt, routes[prompt].edit].text
        base_text = bases[prompt, None].text if (prompt, expect) in leaked else None
        reference = written[expect.value] if expect.kind == "contains" else expect.value
        passed, value = met(expect, after, base_text, reference)
        outcomes[prompt, expect] = Outcome(passed, value, after, base_text, reference)

    compare({(p, e): texts[e.value, routes[e.value].edit].text for p, e in agrees})
    return outcomes


def in_force(suite: Suite, version: Version) -> Sequence[Probe]:
    """The probes whose edit is in the version, and those that are no edit's."""
    if all(p.edit is None for p in suite.probes):
        return suite.probes
    return [p for p in suite.probes if p.edit is None or p.edit in version]


def prompts_of(probes: Iterable[Probe]) -> list[Prompt]:
    """Every prompt to ask, once: the probes' own and those that they are compared with."""
    prompts: dict[Prompt, None] = {}
    for probe in probes:
        prompts[probe.prompt] = None
        if probe.expect.kind == "agrees":
            prompts[probe.expect.value] = None
    return list(prompts)


def length_of(prompt: Prompt) -> str:
    """The slice of a prompt's length in words."""
    count = text_of(prompt).count(" ") + 1
    return "up to 8 words" if count <= 8 else "9 to 20 words" if count <= 20 else "over 20 words"


class Written(dict[str, str]):
    """Expected answers as the backbone can write them (an uncased vocabulary writes lower case)."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self._backbone = backbone

    def __missing__(self, value: str) -> str:
        written = value.strip()
        if self._backbone.generates:
            with contextlib.suppress(MeloError):
                written = self._backbone.canonical(value)
        self[value] = written
        return written


def _outcomes_before(
    runner: Runner,
    version: Version,
    champion: Version,
    probes: Sequence[Probe],
    routes: Routes,
    before: Routes,
) -> dict[Case, Outcome]:
    """With the champion, where another block answers now than then."""

    def moved(prompt: Prompt) -> bool:
        now, then = routes[prompt].edit, before[prompt].edit
        return runner.block(version, now) != runner.block(champion, then)

    changed = [
        p
        for p in probes
        if (p.edit is None or p.edit in champion)
        and (moved(p.prompt) or (p.expect.kind == "agrees" and moved(p.expect.value)))
    ]
    untouched = {(p.prompt, p.expect): UNTOUCHED for p in changed}
    return untouched | outcomes_of(runner, champion, changed, before)


def _before(probe: Probe, champion: Version | None, outcome: Outcome) -> Outcome | None:
    """The champion's outcome, None where there is none: it has no such edit."""
    if champion is None or (probe.edit is not None and probe.edit not in champion):
        return None
    return outcome


def result_of(
    suite: str, probe: Probe, now: Outcome, then: Outcome | None, route: Route, cached: bool
) -> ProbeResult:
    """What a probe's outcome says. then: the champion's, None where it has none."""
    before = then.after if then is not None and then.after is not None else now.base
    return ProbeResult(
        suite,
        probe.id,
        probe.prompt,
        now.reference,
        before,
        now.after,
        now.passed,
        route.edit,
        cached,
        route.distance,
        now.value,
        then.passed if then else None,
        _sliced(tuple(probe.slices.items()), length_of(probe.prompt)),
    )


@lru_cache(maxsize=100_000)
def _sliced(slices: tuple[tuple[str, str], ...], length: str) -> Mapping[str, str]:
    """One mapping for all results that have the same."""
    return {**dict(slices), "length": length}


def _untouched(
    suite: str, probes: Sequence[Probe], routes: Routes, champion: Version | None
) -> Callable[[int], ProbeResult]:
    """Makes the results of probes that no block acts on, in the version or in the champion."""

    def result(place: int) -> ProbeResult:
        probe = probes[place]
        then = _before(probe, champion, UNTOUCHED)
        return result_of(suite, probe, UNTOUCHED, then, routes[probe.prompt], cached=True)

    return result


def _settled(
    earlier: Evaluation | None, live: Mapping[str, Sequence[Probe]], routes: Routes
) -> dict[tuple[str, str], ProbeResult]:
    """Results of an earlier evaluation that hold: nothing that they rest on has another route.

    Edits may only have gone, or become smaller, since: the champion lacks no more than it did.
    """
    settled: dict[tuple[str, str], ProbeResult] = {}
    if earlier is None:
        return settled
    before = earlier.routes
    for name, probes in live.items():
        stored = {result.probe_id: result for result in earlier.results[name].stored}
        for probe in probes if stored else ():
            result = stored.get(probe.id)
            unmoved = (before.get(prompt) is routes[prompt] for prompt in prompts_of([probe]))
            if result is not None and all(unmoved):
                settled[name, probe.id] = result
    return settled
