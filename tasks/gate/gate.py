"""The gate: every probe, every version.

    suites ─► route all (index look-ups) ─► decode what can differ ─► which fail?
                 ▲                                                      │ an edit did it
                 └── shrink its radius, or take it out ◄────────────────┘
                                                                        │ nobody, or nothing fails
    measures ─► cached answers, a sample asked again ─► verdict ◄───────┘

The backbone is frozen and blocks never change, so an answer depends on the probe and on the block
that its key routes to, and on nothing else. What no block acts on is answered as ever, and costs no
text; what is known for a probe and a block is known for good.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from melo_engine import Backbone, Editor, Version
from tasks.gate.cache.answers import AnswerCache
from tasks.gate.measures.measures import Measures, Setting, had_right
from tasks.gate.probes.evaluation import Evaluation, Written, evaluate, in_force, prompts_of
from tasks.gate.probes.expectations import met
from tasks.gate.repair.integrity import inspected, integrity_checks
from tasks.gate.repair.operation import Operation, narrow_edits, operate
from tasks.gate.results import ProbeResults
from tasks.gate.runner.decoding import SHOWN
from tasks.gate.runner.runner import Asked, Progress, Runner
from tasks.gate.suites.files import merged
from tasks.gate.types import Check, GateResult, ProbeResult, Rejection, Repair, Suite, text_of
from tasks.gate.verdict.checks import checks_of, difference_checks, passes
from tasks.gate.verdict.thresholds import Thresholds

Narrow = Literal["keep", "reject"]
MOST_SHOWN = 100  # failing probes of whose texts so much is made as is shown
NONE = ProbeResults.of(())
OTHERWISE = {"contains", "regex", "metric"}  # kinds of which a whole text is read


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
    narrow: Narrow = "keep",
    tokens_per_edit: int | None = None,
    progress: Progress | None = None,
) -> GateResult:
    """Gate a version on all probes; take the edits out that fail, and judge what is left.

    suites: usually `load_suites(folder)` and `suites_for(candidate, ...)`. champion: what it is
    compared with, None at the first time. seed: of the sample that is asked again. full: generate
    every answer anew and compare with the cache. narrow: whether new edits stay that are not found in
    all wordings of their question. tokens_per_edit: what the measures of one edit may cost; None: as
    much as they need. progress: called with a text, done and total. The editor holds the same version
    afterwards as before. Raises MeloError where the versions are of another backbone than the editor's.
    """
    runner = Runner(editor, cache, full=full, progress=progress)
    gate = _Gate(runner, thresholds, narrow, Measures(runner, tokens=tokens_per_edit))
    return gate.run(candidate, champion, merged(suites), seed)


class _Gate:
    def __init__(
        self, runner: Runner, thresholds: Thresholds, narrow: Narrow, measures: Measures
    ) -> None:
        self.runner, self.thresholds, self.measures = runner, thresholds, measures
        self.policy = narrow
        self.rejected: list[Rejection] = []
        self.repairs: list[Repair] = []
        self.narrow: dict[str, tuple[str, ...]] = {}
        self.rounds = 0

    def run(
        self, candidate: Version, champion: Version | None, suites: list[Suite], seed: int
    ) -> GateResult:
        began = time.perf_counter()
        frozen = backbone_checks(self.runner.editor.backbone, candidate)
        if not passes(frozen):
            return self._result(candidate, candidate, champion, frozen, NONE, began)
        whole = inspected(candidate, self.runner)
        if self.thresholds.repair.rounds == 0 and whole.done:
            checks = [*frozen, *integrity_checks(whole)]
            return self._result(candidate, candidate, champion, checks, NONE, began)
        version, found, suites = self._operated(self._note(whole), champion, suites)
        self.runner.router.keep_only(version)
        self.runner.router.save(version)
        audited = self._audit(version, found, seed)
        checks = [
            *frozen,
            *checks_of(
                suites, found.results, self.thresholds, against_champion=champion is not None
            ),
            *difference_checks(self.runner.differences, audited),
        ]
        results = ProbeResults.chained(
            [found.results[s.name] for s in suites if s.name in found.results]
        )
        results = results.replaced(self._readable(results.failing, version, champion))
        return self._result(candidate, version, champion, checks, results, began)

    def _operated(
        self, version: Version, champion: Version | None, suites: list[Suite]
    ) -> tuple[Version, Evaluation, list[Suite]]:
        """Evaluate and operate in turn until nothing is left that an edit is to blame for."""
        answered = [s for s in suites if s.purpose == "answers"]
        measured = [s for s in suites if s.purpose != "answers"]
        owners = {(s.name, p.id): p.edit for s in suites for p in s.probes if p.edit is not None}
        wordings = _wordings(version, answered)
        prompts = prompts_of(p for s in answered for p in s.probes)
        for known in (champion, version):
            if known is not None:
                self.runner.router.remember(known, prompts)
        del prompts
        compared = {s.name: self.thresholds.of(s.name).worse > 0 for s in answered}
        found: Evaluation | None = None
        while True:
            self.runner.tell(
                "asking probes, round", self.rounds + 1, self.thresholds.repair.rounds + 1
            )
            found = evaluate(self.runner, answered, version, champion, compared, found)
            self.rounds += 1
            done = Operation(version)
            if self.rounds <= self.thresholds.repair.rounds:
                done = self._operate(version, champion, found.results, answered, owners, wordings)
            extra: list[Suite] = []
            if not done.done:
                extra = self._measure(measured, answered, version, champion, found)
                if self.rounds <= self.thresholds.repair.rounds:
                    own = {s.name: found.results[s.name] for s in measured}
                    done = self._operate(version, champion, own, measured, owners, wordings)
            if not done.done:
                done = self._without_narrow(version, champion, found, owners)
            if not done.done:
                return version, found, [*suites, *extra]
            version = self._note(done)

    def _operate(
        self, version: Version, champion: Version | None,
        results: Mapping[str, ProbeResults], suites: Sequence[Suite],
        owners: Mapping[tuple[str, str], str], wordings: Mapping[str, Sequence[str]],
    ) -> Operation:  # fmt: skip
        failing = [r for rows in results.values() for r in rows.failing]
        if not failing:
            return Operation(version)
        helped = self._helped(version, suites, failing)
        readable = self._readable(failing, version, champion)
        shown = {name: rows.replaced(readable) for name, rows in results.items()}
        return operate(version, shown, owners, helped, wordings, self.runner, self.thresholds)

    def _helped(
        self, version: Version, suites: Sequence[Suite], failing: Sequence[ProbeResult]
    ) -> dict[tuple[str, str], bool]:
        """Whether the backbone would pass what an edit failed."""
        expects = {
            (s.name, p.id): p.expect for s in suites for p in s.probes if s.purpose == "answers"
        }
        caught = [r for r in failing if r.edit is not None and (r.suite, r.probe_id) in expects]
        written = Written(self.runner.editor.backbone)
        wanted: dict[Asked, str | None] = {}
        for r in caught:
            expect, one = expects[r.suite, r.probe_id], (r.prompt, None)
            if expect.kind == "exact":
                until = written[expect.value]
                wanted[one] = until if wanted.get(one, until) == until else None
            elif expect.kind in OTHERWISE:
                wanted[one] = None
        texts = self.runner.texts(version, wanted)
        helped = {}
        for r in caught:
            expect, base = expects[r.suite, r.probe_id], texts.get((r.prompt, None))
            if base is None:
                passes_base = expect.kind in ("unchanged", "absent")
            else:
                passes_base = base.whole and met(expect, base.text, base.text, r.expected or "")[0]
            helped[r.suite, r.probe_id] = passes_base
        return helped

    def _measure(
        self, measured: Sequence[Suite], answered: Sequence[Suite], version: Version,
        champion: Version | None, found: Evaluation,
    ) -> list[Suite]:  # fmt: skip
        """Results of the suites with measures of their own. Returns accurate retention, if asked."""
        written = Written(self.runner.editor.backbone)
        live = [p for s in answered for p in in_force(s, version)]
        right = had_right(self.runner, version, live, found.routes, written.__getitem__)
        extra = [Suite("accurate-retention", right, "perplexity")] if right else []
        suites = [*measured, *extra]
        prompts = prompts_of(p for s in suites for p in s.probes)
        router = self.runner.router
        routes = dict(zip(prompts, router.routes(version, prompts), strict=True))
        old = dict(zip(prompts, router.routes(champion, prompts), strict=True)) if champion else {}
        setting = Setting(version, champion, routes, old)
        self.measures.unproven.clear()
        for suite in suites:
            self.runner.tell(f"measuring {suite.name}", 1, 1)
            limit = self.thresholds.of(suite.name).limit
            rows = self.measures.results(suite, setting, limit)
            found.results[suite.name] = ProbeResults.of(rows)
        return extra

    def _without_narrow(
        self,
        version: Version,
        champion: Version | None,
        found: Evaluation,
        owners: Mapping[tuple[str, str], str],
    ) -> Operation:
        """Note the narrow edits, and take the new ones out where they are not to stay."""
        self.narrow = narrow_edits(found.results, owners, self.thresholds)
        done = Operation(version)
        if self.policy == "keep" or self.rounds > self.thresholds.repair.rounds:
            return done
        for edit, prompts in self.narrow.items():
            if champion is None or edit not in champion:
                reason = (
                    f"it is not found in {len(prompts)} wordings of its question: "
                    f'"{prompts[0][:80]}"'
                )
                done.rejected.append(
                    Rejection(edit, reason, "narrow", prompts[0], "", "", True, prompts)
                )
        done.version = version.without([r.edit for r in done.rejected])
        return done

    def _readable(
        self, failing: Sequence[ProbeResult], version: Version, champion: Version | None
    ) -> dict[int, ProbeResult]:
        """Some results that failed by an edit's answer with whole texts, by `id()` of the result."""
        caught = [
            r
            for r in failing
            if r.edit is not None
            and r.after is not None
            and self.runner.known(version, (r.prompt, r.edit)) is not None
        ][:MOST_SHOWN]
        asked: dict[Asked, str | None] = {(r.prompt, r.edit): None for r in caught}
        texts = self.runner.texts(version, asked, read=SHOWN)
        # What stood there before is of interest where nothing was to change.
        before = {r.prompt: None for r in caught if r.before is not None and r.expected != r.after}
        bases = self.runner.texts(version, {(p, None): None for p in before}, read=SHOWN)
        shown = {}
        for r in caught:
            after = texts[r.prompt, r.edit].text
            base = bases.get((r.prompt, None))
            partly = base is not None and base.text.startswith(r.before or "")
            shown[id(r)] = replace(
                r,
                after=after if after.startswith(r.after or "") else r.after,
                before=base.text if base is not None and partly else r.before,
            )
        return shown

    def _note(self, done: Operation) -> Version:
        self.rejected += done.rejected
        self.repairs += done.repairs
        return done.version

    def _audit(self, version: Version, found: Evaluation, seed: int) -> int:
        if self.runner.full:
            return self.runner.regenerated
        size = self.thresholds.audit.size(len(found.routes))
        return self.runner.audit(version, found.routes, seed, size)

    def _result(
        self,
        candidate: Version,
        version: Version,
        champion: Version | None,
        checks: Sequence[Check],
        results: ProbeResults,
        began: float,
    ) -> GateResult:
        return GateResult(
            passed=passes(checks),
            version=version,
            rejected=tuple(self.rejected),
            checks=tuple(checks),
            probes=results,
            regenerated=self.runner.regenerated + self.measures.regenerated,
            cached=len(self.runner.from_cache),
            seconds=time.perf_counter() - began,
            repairs=tuple(self.repairs),
            candidate=candidate.id,
            champion=champion.id if champion else None,
            full=self.runner.full,
            rounds=self.rounds,
            narrow={e: w for e, w in self.narrow.items() if e in version},
            unproven=tuple(self.measures.unproven),
            tokens=self.runner.decoder.tokens + self.measures.tokens,
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
                    found[probe.edit].append(text_of(probe.prompt))
    return found
