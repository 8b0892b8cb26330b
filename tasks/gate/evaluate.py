"""Ask a version all probes and say of each whether it passed. Only what is new is generated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from melo_engine import Backbone, MeloError, Route, Version
from tasks.gate.desk import Desk
from tasks.gate.expectations import met
from tasks.gate.routing import NOWHERE
from tasks.gate.types import Expectation, Probe, ProbeResult, Suite

_NEED_BASE = ("unchanged", "absent")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of all suites, and where each prompt went in the version."""

    results: dict[str, list[ProbeResult]]
    routes: dict[str, Route]

    @property
    def asked(self) -> list[tuple[str, str | None]]:
        """Each prompt with the edit that answered it."""
        return [(prompt, route.edit) for prompt, route in self.routes.items()]


def evaluate(
    desk: Desk,
    suites: Sequence[Suite],
    version: Version,
    champion: Version | None,
    earlier: Evaluation | None = None,
) -> Evaluation:
    """Ask all probes whose edit is in force.

    earlier: of the same suites and champion, before surgery: what goes where it went is taken over.
    """
    live = {s.name: [p for p in s.probes if p.edit is None or p.edit in version] for s in suites}
    prompts = prompts_of(p for probes in live.values() for p in probes)
    before = _champion_routes(desk, champion, prompts)
    routes = dict(zip(prompts, desk.router.routes(version, prompts), strict=True))
    settled = _settled(earlier, live, routes)
    open_ = {
        name: [p for p in probes if (name, p.id) not in settled] for name, probes in live.items()
    }
    prompts = prompts_of(p for probes in open_.values() for p in probes)
    after_texts = desk.answers(version, [(p, routes[p].edit) for p in prompts])
    bases = {x.prompt for probes in open_.values() for x in probes if x.expect.kind in _NEED_BASE}
    base_texts = desk.answers(
        version, [(p, None) for p in prompts if p in bases or before[p].edit is None]
    )
    old_texts: dict[tuple[str, str | None], str] = {}
    if champion is not None:
        caught = [(p, before[p].edit) for p in prompts if before[p].edit is not None]
        old_texts = desk.answers(champion, caught)

    wanted = Written(desk.editor.backbone)
    results: dict[str, list[ProbeResult]] = {}
    for suite in suites:
        rows = []
        for probe in live[suite.name]:
            kept = settled.get((suite.name, probe.id))
            if kept is not None:
                rows.append(kept)
                continue
            prompt, route = probe.prompt, routes[probe.prompt]
            after = after_texts[prompt, route.edit]
            base = base_texts.get((prompt, None))
            old = before[prompt].edit
            said = base if old is None else old_texts[prompt, old]
            reference = _reference(probe.expect, wanted, routes, after_texts)
            passed, value = met(probe.expect, after, base, reference)
            comparable = champion is not None and (probe.edit is None or probe.edit in champion)
            passed_before = None
            if comparable and said is not None:
                passed_before = (
                    passed if said == after else met(probe.expect, said, base, reference)[0]
                )
            rows.append(
                ProbeResult(
                    suite.name, probe.id, prompt,
                    base if probe.expect.kind == "unchanged" else reference,
                    said, after, passed, route.edit,
                    desk.was_cached(prompt, version, route.edit), route.distance, value,
                    passed_before, _sliced(probe),
                )
            )  # fmt: skip
        results[suite.name] = rows
    return Evaluation(results, routes)


def _settled(
    earlier: Evaluation | None, live: Mapping[str, Sequence[Probe]], routes: Mapping[str, Route]
) -> dict[tuple[str, str], ProbeResult]:
    """Results of an earlier evaluation that hold: nothing that they rest on has another route.

    Edits may only have gone, or become smaller, since: the champion lacks no more than it did.
    """
    if earlier is None:
        return {}
    same = {p for p, route in routes.items() if earlier.routes.get(p) is route}
    return {
        (name, probe.id): result
        for name, probes in live.items()
        for result, probe in _paired(earlier.results[name], probes)
        if probe.prompt in same and (probe.expect.kind != "agrees" or probe.expect.value in same)
    }


def _paired(
    results: Sequence[ProbeResult], probes: Sequence[Probe]
) -> Iterator[tuple[ProbeResult, Probe]]:
    """Each probe with its result; results of probes that are gone are passed over."""
    found = iter(results)
    for probe in probes:
        result = next(found)
        while result.probe_id != probe.id:
            result = next(found)
        yield result, probe


def prompts_of(probes: Iterable[Probe]) -> list[str]:
    """Every prompt to ask, once: the probes' own and those that they are compared with."""
    found: dict[str, None] = {}
    for probe in probes:
        found[probe.prompt] = None
        if probe.expect.kind == "agrees":
            found[probe.expect.value] = None
    return list(found)


def length_of(prompt: str) -> str:
    """The slice of a prompt's length in words."""
    count = prompt.count(" ") + 1
    return "up to 8 words" if count <= 8 else "9 to 20 words" if count <= 20 else "over 20 words"


class Written:
    """Expected answers as the backbone can write them (an uncased vocabulary writes lower case)."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._known: dict[str, str] = {}

    def __getitem__(self, value: str) -> str:
        if value not in self._known:
            self._known[value] = self._written(value)
        return self._known[value]

    def _written(self, value: str) -> str:
        if not self._backbone.generates:
            return value.strip()
        try:
            return self._backbone.canonical(value)
        except MeloError:
            return value.strip()


def _champion_routes(
    desk: Desk, champion: Version | None, prompts: Sequence[str]
) -> dict[str, Route]:
    """Asked for first: the version's own routes are built upon them."""
    if champion is None:
        return dict.fromkeys(prompts, NOWHERE)
    return dict(zip(prompts, desk.router.routes(champion, prompts), strict=True))


def _reference(
    expect: Expectation,
    wanted: Written,
    routes: Mapping[str, Route],
    texts: Mapping[tuple[str, str | None], str],
) -> str:
    if expect.kind == "agrees":
        return texts[expect.value, routes[expect.value].edit]
    if expect.kind in ("exact", "contains"):
        return wanted[expect.value]
    return expect.value


def _sliced(probe: Probe) -> Mapping[str, str]:
    return {**probe.slices, "length": length_of(probe.prompt)}
