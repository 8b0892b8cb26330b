"""Ask a version all probes and say of each whether it passed. What can't differ costs no text.

unchanged, absent   no block acts ──► passed: the answer is the backbone's own
                    a block acts  ──► decoded beside the backbone until they part
exact, agrees       decoded until the text departs from what it must be
contains, regex, metric                          the whole text
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from melo_engine import Backbone, MeloError, Prompt, Route, Version
from melo_engine.types import NOWHERE
from tasks.gate.probes.expectations import met
from tasks.gate.results import ProbeResults
from tasks.gate.runner.decoding import LONG
from tasks.gate.runner.runner import Query, Runner, same
from tasks.gate.suites.wordings import says
from tasks.gate.types import Expectation, Probe, ProbeResult, Suite, text_of

Routes = Mapping[Prompt, Route]


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
    before = _champion_routes(runner, champion, prompts)
    routes = runner.router.mapped(version, prompts)
    settled = _settled(earlier, live, routes)
    fresh = {
        name: [p for p in probes if (name, p.id) not in settled] if settled else probes
        for name, probes in live.items()
    }
    outcomes = outcomes_of(runner, version, [p for ps in fresh.values() for p in ps], routes)
    old = _outcomes_before(runner, version, champion, fresh, compared, routes, before)
    results: dict[str, ProbeResults] = {}
    for name, probes in live.items():
        rows = {}
        for place, probe in enumerate(probes):
            result = settled.get((name, probe.id))
            key = probe.prompt, probe.expect
            if result is None and (key in outcomes or key in old):
                now, then = outcomes.get(key, UNTOUCHED), _before(probe, champion, outcomes, old)
                result = _result(name, probe, now, then, routes, runner, version)
            if result is not None:
                rows[place] = result
        results[name] = ProbeResults(len(probes), rows, _Untouched(name, probes, routes, champion))
    return Evaluation(results, routes)


def outcomes_of(
    runner: Runner, version: Version, probes: Sequence[Probe], routes: Routes
) -> dict[tuple[Prompt, Expectation], Outcome]:
    """What becomes of each (prompt, expectation) in a version. No text is made that can't differ.

    What is answered as by the backbone and needs no more is left out: it is `UNTOUCHED`.
    """
    written = Written(runner.editor.backbone)
    outcomes: dict[tuple[Prompt, Expectation], Outcome] = {}
    wanted: dict[tuple[Prompt, Expectation], None] = {}
    unrouted: dict[tuple[Prompt, Expectation], None] = {}
    for p in probes:
        if p.expect.kind not in ("unchanged", "absent") or routes[p.prompt].edit:
            wanted[p.prompt, p.expect] = None
        elif runner.full:
            unrouted[p.prompt, p.expect] = None
    if unrouted:
        texts = runner.texts(version, {(w[0], None): None for w in unrouted}, read=LONG)
        for w in unrouted:
            answer = texts[w[0], None].text
            outcomes[w] = Outcome(True, math.nan, answer, answer, answer)
    by_kind: dict[str, list[tuple[Prompt, Expectation]]] = {}
    for w in wanted:
        by_kind.setdefault(w[1].kind, []).append(w)

    exact = by_kind.get("exact", [])
    references: dict[Query, str | None] = {}
    for prompt, expect in exact:
        query, until = (prompt, routes[prompt].edit), written[expect.value]
        references[query] = until if references.get(query, until) == until else None
    texts = runner.texts(version, references)
    for prompt, expect in exact:
        text = texts[prompt, routes[prompt].edit]
        reference = written[expect.value]
        passed = text.whole and text.text in (reference, expect.value.strip())
        outcomes[prompt, expect] = Outcome(passed, after=text.text, reference=reference)

    unchanged = [(p, str(routes[p].edit)) for p, _ in by_kind.get("unchanged", [])]
    pairs = runner.beside_base(version, list(dict.fromkeys(unchanged)))
    for w in by_kind.get("unchanged", []):
        base, edited = pairs[w[0], routes[w[0]].edit]
        outcomes[w] = Outcome(same(base, edited), math.nan, edited.text, base.text, base.text)

    full = [w for kind in ("contains", "regex", "metric") for w in by_kind.get(kind, [])]
    absent, agrees = by_kind.get("absent", []), by_kind.get("agrees", [])
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

    following: dict[Query, str | None] = {}
    for prompt, expect in agrees:
        query, until = (
            (prompt, routes[prompt].edit),
            texts[expect.value, routes[expect.value].edit].text,
        )
        following[query] = until if following.get(query, until) == until else None
    rephrased = runner.texts(version, following)
    for prompt, expect in agrees:
        text = rephrased[prompt, routes[prompt].edit]
        reference = texts[expect.value, routes[expect.value].edit].text
        passed = text.whole and text.text == reference
        outcomes[prompt, expect] = Outcome(passed, after=text.text, reference=reference)
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


class Written:
    """Expected answers as the backbone can write them (an uncased vocabulary writes lower case)."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._canonical: dict[str, str] = {}

    def __getitem__(self, value: str) -> str:
        if value not in self._canonical:
            self._canonical[value] = self._canonical_text(value)
        return self._canonical[value]

    def _canonical_text(self, value: str) -> str:
        if not self._backbone.generates:
            return value.strip()
        try:
            return self._backbone.canonical(value)
        except MeloError:
            return value.strip()


def _champion_routes(runner: Runner, champion: Version | None, prompts: Sequence[Prompt]) -> Routes:
    """Asked for first: the version's own routes are built upon them."""
    if champion is None:
        return dict.fromkeys(prompts, NOWHERE)
    return runner.router.mapped(champion, prompts)


def _outcomes_before(
    runner: Runner,
    version: Version,
    champion: Version | None,
    probes: Mapping[str, Sequence[Probe]],
    compared: Mapping[str, bool],
    routes: Routes,
    before: Routes,
) -> dict[tuple[Prompt, Expectation], Outcome]:
    """With the champion, where a check compares and another block answers now than then."""
    if champion is None:
        return {}

    def moved(prompt: Prompt) -> bool:
        now, then = routes[prompt].edit, before[prompt].edit
        if now is None and then is None:
            return False
        return runner.block(version, now) != runner.block(champion, then)

    changed = [
        p
        for name, suite_probes in probes.items()
        if compared.get(name, False)
        for p in suite_probes
        if (p.edit is None or p.edit in champion)
        and (moved(p.prompt) or (p.expect.kind == "agrees" and moved(p.expect.value)))
    ]
    untouched = {(p.prompt, p.expect): UNTOUCHED for p in changed}
    return untouched | outcomes_of(runner, champion, changed, before)


def _before(
    probe: Probe,
    champion: Version | None,
    outcomes: Mapping[tuple[Prompt, Expectation], Outcome],
    old: Mapping[tuple[Prompt, Expectation], Outcome],
) -> Outcome | None:
    """The champion's outcome: another where another block answered, else the same."""
    if champion is None or (probe.edit is not None and probe.edit not in champion):
        return None
    key = probe.prompt, probe.expect
    return old.get(key) or outcomes.get(key, UNTOUCHED)


def _result(
    suite: str,
    probe: Probe,
    now: Outcome,
    then: Outcome | None,
    routes: Routes,
    runner: Runner,
    version: Version,
) -> ProbeResult:
    route = routes[probe.prompt]
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
        now.after is None or runner.was_cached(probe.prompt, version, route.edit),
        route.distance,
        now.value,
        then.passed if then else None,
        _sliced(tuple(probe.slices.items()), length_of(probe.prompt)),
    )


@lru_cache(maxsize=100_000)
def _sliced(slices: tuple[tuple[str, str], ...], length: str) -> Mapping[str, str]:
    """One mapping for all results that have the same."""
    return {**dict(slices), "length": length}


class _Untouched:
    """Makes the results of probes that no block acts on, in the version or in the champion."""

    def __init__(
        self, suite: str, probes: Sequence[Probe], routes: Routes, champion: Version | None
    ) -> None:
        self._suite, self._probes, self._routes = suite, probes, routes
        self._champion = champion

    def __call__(self, place: int) -> ProbeResult:
        probe = self._probes[place]
        champion = self._champion
        compared = champion is not None and (probe.edit is None or probe.edit in champion)
        return ProbeResult(
            self._suite,
            probe.id,
            probe.prompt,
            None,
            None,
            None,
            True,
            None,
            True,
            self._routes[probe.prompt].distance,
            math.nan,
            True if compared else None,
            _sliced(tuple(probe.slices.items()), length_of(probe.prompt)),
        )


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
            if result is None:
                continue
            if all(before.get(prompt) is routes[prompt] for prompt in prompts_of([probe])):
                settled[name, probe.id] = result
    return settled
