"""The gate: every probe, every version.

    suites ─► route all (index look-ups) ─► generate what is new ─► which fail?
                 ▲                                                    │ an edit did it
                 └── shrink its radius, or take it out ◄──────────────┘
                                                                      │ nobody, or nothing fails
    cached answers, a sample asked again ─► verdict ◄─────────────────┘

The backbone is frozen and blocks never change, so an answer depends on the probe and on the block
that its key routes to, and on nothing else. What is known for that pair is known for good.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from melo_engine import Backbone, Editor, Version
from tasks.gate.cache import AnswerCache
from tasks.gate.desk import Desk, Progress
from tasks.gate.evaluate import Evaluation, Written, evaluate, prompts_of
from tasks.gate.expectations import met
from tasks.gate.integrity import inspected, integrity_checks
from tasks.gate.measures import Measures, had_right
from tasks.gate.suites import merged
from tasks.gate.surgery import Operation, operate
from tasks.gate.thresholds import Thresholds
from tasks.gate.types import Check, GateResult, ProbeResult, Rejection, Repair, Suite
from tasks.gate.verdict import difference_checks, judge, passes


def gate_candidate(
    editor: Editor,
    candidate: Version,
    champion: Version | None,
    *,
    suites: Sequence[Suite],
    cache: AnswerCache,
    thresholds: Thresholds,
    seed: int = 0,
    full: bool = False,
    progress: Progress | None = None,
) -> GateResult:
    """Gate a version on all probes; take the edits out that fail, and judge what is left.

    suites: usually `load_suites(folder)` and `suites_for(candidate, ...)`. champion: what it is
    compared with, None at the first time. seed: of the sample that is asked again. full: generate
    every answer anew and compare with the cache. progress: called with a text, done and total.
    The editor holds the same version afterwards as before. Raises MeloError where the versions are
    of another backbone than the editor's.
    """
    return _Gate(editor, cache, thresholds, full, progress).run(
        candidate, champion, merged(suites), seed
    )


class _Gate:
    def __init__(
        self,
        editor: Editor,
        cache: AnswerCache,
        thresholds: Thresholds,
        full: bool,
        progress: Progress | None,
    ) -> None:
        self.editor, self.cache, self.thresholds = editor, cache, thresholds
        self.full, self.progress = full, progress
        self.measures = Measures(editor, cache, full)
        self.rejected: list[Rejection] = []
        self.repairs: list[Repair] = []
        self.rounds = 0

    def run(
        self, candidate: Version, champion: Version | None, suites: list[Suite], seed: int
    ) -> GateResult:
        began = time.perf_counter()
        frozen = backbone_checks(self.editor.backbone, candidate)
        if not passes(frozen):
            return self._result(candidate, candidate, champion, frozen, [], None, began)
        desk = Desk(self.editor, self.cache, full=self.full, progress=self.progress)
        whole = inspected(candidate, desk)
        if self.thresholds.surgery.rounds == 0 and whole.done:
            checks = [*frozen, *integrity_checks(whole)]
            return self._result(candidate, candidate, champion, checks, [], desk, began)
        version = self._note(whole)
        version, found = self._operated(version, champion, suites, desk)
        suites = self._measured(suites, version, champion, desk, found)
        desk.router.save(version)
        audited = self._audit(desk, version, found, seed)
        checks = [
            *frozen,
            *judge(suites, found.results, self.thresholds, against_champion=champion is not None),
            *difference_checks(desk.differences, audited),
        ]
        results = [r for s in suites for r in found.results.get(s.name, ())]
        return self._result(candidate, version, champion, checks, results, desk, began)

    def _operated(
        self, version: Version, champion: Version | None, suites: list[Suite], desk: Desk
    ) -> tuple[Version, Evaluation]:
        """Evaluate and operate in turn until nothing is left that an edit is to blame for."""
        answered = [s for s in suites if s.purpose == "answers"]
        owners = {(s.name, p.id): p.edit for s in answered for p in s.probes}
        expects = {(s.name, p.id): p.expect for s in answered for p in s.probes}
        wordings = _wordings(version, answered)
        prompts = prompts_of(p for s in answered for p in s.probes)
        for known in (champion, version):
            if known is not None:
                desk.router.remember(known, prompts)
        found = None
        while True:
            found = evaluate(desk, answered, version, champion, found)
            self.rounds += 1
            failed = [r for rows in found.results.values() for r in rows if not r.passed]
            if not failed or self.rounds > self.thresholds.surgery.rounds:
                return version, found
            bases = desk.answers(version, [(r.prompt, None) for r in failed])
            helped = {}
            for r in failed:
                key, base = (r.suite, r.probe_id), bases[r.prompt, None]
                helped[key] = met(expects[key], base, base, r.expected or "")[0]
            done = operate(version, failed, owners, helped, wordings, desk, self.thresholds)
            if not done.done:
                return version, found
            version = self._note(done)

    def _measured(
        self,
        suites: list[Suite],
        version: Version,
        champion: Version | None,
        desk: Desk,
        found: Evaluation,
    ) -> list[Suite]:
        """Results of the suites with measures of their own, accurate retention among them."""
        suites = [*suites, *self._texts_it_had_right(suites, found)]
        special = [s for s in suites if s.purpose != "answers"]
        prompts = prompts_of(p for s in special for p in s.probes)
        routes = dict(zip(prompts, desk.router.routes(version, prompts), strict=True))
        old = (
            dict(zip(prompts, desk.router.routes(champion, prompts), strict=True))
            if champion
            else {}
        )
        for suite in special:
            limit = self.thresholds.of(suite.name).limit
            found.results[suite.name] = self.measures.results(
                suite, version, champion, routes, old, limit
            )
        return suites

    def _texts_it_had_right(self, suites: list[Suite], found: Evaluation) -> list[Suite]:
        """Known answers to unchanged probes that the backbone gives."""
        written = Written(self.editor.backbone)
        probes = [
            p for s in suites if s.purpose == "answers"
            for p in had_right(found.results[s.name], s.probes, written.__getitem__)
        ]  # fmt: skip
        return [Suite("accurate-retention", tuple(probes), "perplexity")] if probes else []

    def _note(self, done: Operation) -> Version:
        self.rejected += done.rejected
        self.repairs += done.repairs
        return done.version

    def _audit(self, desk: Desk, version: Version, found: Evaluation, seed: int) -> int:
        if self.full:
            return desk.regenerated
        size = self.thresholds.audit.size(len(desk.from_cache))
        return desk.audit(version, found.asked, seed, size)

    def _result(
        self,
        candidate: Version,
        version: Version,
        champion: Version | None,
        checks: Sequence[Check],
        results: Sequence[ProbeResult],
        desk: Desk | None,
        began: float,
    ) -> GateResult:
        return GateResult(
            passed=passes(checks),
            version=version,
            rejected=tuple(self.rejected),
            checks=tuple(checks),
            probes=tuple(results),
            regenerated=(desk.regenerated if desk else 0) + self.measures.regenerated,
            cached=(len(desk.from_cache) if desk else 0) + self.measures.cached,
            seconds=time.perf_counter() - began,
            repairs=tuple(self.repairs),
            candidate=candidate.id,
            champion=champion.id if champion else None,
            full=self.full,
            rounds=self.rounds,
        )


def backbone_checks(backbone: Backbone, version: Version) -> list[Check]:
    """Are the weights in memory, hashed anew, those that the version was made for?"""
    now = str(vars(Backbone)["weights_hash"].func(backbone))
    reason = ""
    if now != version.backbone:
        reason = (
            f"the weights hash to {now[:12]}, the version was made for {version.backbone[:12]}; "
            "open the right backbone"
        )
    return [Check("backbone", "weights", 0.0, "none", 0.0, 1, not reason, reason)]


def _wordings(version: Version, suites: Sequence[Suite]) -> Mapping[str, list[str]]:
    """What each edit should answer: what it was trained on, and the rephrases held out."""
    found = {e.id: list(e.request.rephrases) for e in version.edits.values()}
    for suite in suites:
        if suite.name == "generality":
            for probe in suite.probes:
                if probe.edit in found:
                    found[probe.edit].append(probe.prompt)
    return found
