"""The gate: every probe, every version.

    suites ─► route all (index look-ups) ─► decode what can differ ─► which fail?
                 ▲                                                      │ an edit did it
                 └── shrink its radius, or take it out ◄────────────────┘
                                                                        │ nobody, or nothing fails
    measures ─► cached answers, a sample asked again ─► verdict ◄───────┘

The backbone is frozen and blocks never change, so an answer depends on the probe and on the block
that its key routes to, and on nothing else. Where no block acts the answer is the backbone's and costs
no text; an answer once known for a probe and a block holds for good.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from config import Settings
from execution import progress
from melo_engine import Backbone, Editor, Version
from tasks.gate.cache.answers import AnswerCache
from tasks.gate.measures.measures import Measures, Setting, had_right
from tasks.gate.probes.evaluation import Evaluation, Written, evaluate, in_force, prompts_of
from tasks.gate.probes.expectations import met
from tasks.gate.repair.integrity import inspected, integrity_checks
from tasks.gate.repair.operation import Operation, Repairer
from tasks.gate.results import ProbeResults
from tasks.gate.runner.decoding import SHOWN
from tasks.gate.runner.runner import Query, Runner, references_of
from tasks.gate.suites.files import merged
from tasks.gate.types import Check, GateResult, ProbeResult, Rejection, Repair, Suite, text_of
from tasks.gate.verdict.checks import checks_of, difference_checks, passes
from tasks.gate.verdict.thresholds import Thresholds

MOST_SHOWN = 100  # failing probes whose texts are decoded far enough to be shown
NONE = ProbeResults.of(())
FULL_TEXT_KINDS = {"contains", "regex", "metric"}  # kinds of which a whole text is read


@dataclass(frozen=True)
class GateOptions:
    """What a version must meet, and how that is proven.

    seed: of the sample that is asked again. full: generate every answer anew and compare with the cache.
    narrow: whether new edits stay that are not found in all wordings of their question.
    tokens_per_edit: what the measures of one edit may cost; None: as much as they need.
    """

    thresholds: Thresholds
    seed: int = 0
    full: bool = False
    narrow: Literal["keep", "reject"] = "keep"
    tokens_per_edit: int | None = None

    @classmethod
    def of_home(cls, settings: Settings) -> GateOptions:
        """As a home's settings say."""
        return cls(
            Thresholds.of_home(settings),
            narrow=settings.gate.narrow,
            tokens_per_edit=settings.gate.tokens_per_edit,
        )


def gate_candidate(
    editor: Editor,
    candidate: Version,
    champion: Version | None,
    *,
    suites: Sequence[Suite],
    cache: AnswerCache,
    options: GateOptions,
) -> GateResult:
    """Gate a version on all probes; take the edits out that fail, and judge what is left.

    suites: usually `load_suites(folder)` and `suites_for(candidate, ...)`. champion: what it is
    compared with, None at the first time. The editor holds the same version afterwards as before.
    Raises MeloError where the versions are of another backbone than the editor's.
    """
    runner = Runner(editor, cache, full=options.full)
    return _Gate(runner, options, candidate, champion, merged(suites)).run()


class _Gate:
    """One gate: what is asked of whom, and what has been taken out so far."""

    def __init__(
        self,
        runner: Runner,
        options: GateOptions,
        candidate: Version,
        champion: Version | None,
        suites: list[Suite],
    ) -> None:
        self.runner, self.options = runner, options
        self.candidate, self.champion, self.suites = candidate, champion, suites
        self.thresholds = options.thresholds
        self.answered = [s for s in suites if s.purpose == "answers"]
        self.measured = [s for s in suites if s.purpose != "answers"]
        self.measures = Measures(runner, tokens=options.tokens_per_edit)
        owners = {(s.name, p.id): p.edit for s in suites for p in s.probes if p.edit is not None}
        wordings = _edit_wordings(candidate, self.answered)
        self.repairer = Repairer(runner, self.thresholds, owners, wordings)
        self.rejected: list[Rejection] = []
        self.repairs: list[Repair] = []
        self.narrow: dict[str, tuple[str, ...]] = {}
        self.rounds = 0
        self.began = time.perf_counter()

    def run(self) -> GateResult:
        frozen = backbone_checks(self.runner.editor.backbone, self.candidate)
        if not passes(frozen):
            return self._result(self.candidate, frozen)
        inspection = inspected(self.candidate, self.runner)
        if self.thresholds.repair.rounds == 0 and inspection.changed:
            return self._result(self.candidate, [*frozen, *integrity_checks(inspection)])
        version, evaluation = self._repair_loop(self._record(inspection))
        self.runner.router.keep_only(version)
        self.runner.router.save(version)
        audited = self._audit(version, evaluation)
        against = self.champion is not None
        checks = [
            *frozen,
            *checks_of(self.suites, evaluation.results, self.thresholds, against_champion=against),
            *difference_checks(self.runner.differences, audited),
        ]
        results = ProbeResults.chained(
            [evaluation.results[s.name] for s in self.suites if s.name in evaluation.results]
        )
        results = results.replaced(self._with_full_texts(results.failing, version))
        return self._result(version, checks, results)

    def _repair_loop(self, version: Version) -> tuple[Version, Evaluation]:
        """Evaluate and repair in turn until no edit is to blame for a failing probe."""
        prompts = prompts_of(p for s in self.answered for p in s.probes)
        for routed in (self.champion, version):
            if routed is not None:
                self.runner.router.remember(routed, prompts)
        del prompts
        compared = {s.name: self.thresholds.of(s.name).worse > 0 for s in self.answered}
        most = self.thresholds.repair.rounds
        evaluation: Evaluation | None = None
        while True:
            progress.report("asking probes, round", self.rounds + 1, most + 1)
            evaluation = evaluate(
                self.runner, self.answered, version, self.champion, compared, evaluation
            )
            self.rounds += 1
            operation = self._operate(version, evaluation.results)
            extra: list[Suite] = []
            if not operation.changed:
                extra = self._measure(version, evaluation)
                operation = self._operate(
                    version, {s.name: evaluation.results[s.name] for s in self.measured}
                )
            if not operation.changed:
                operation = self._without_narrow_edits(version, evaluation)
            if not operation.changed:
                self.suites += extra
                return version, evaluation
            version = self._record(operation)

    @property
    def may_repair(self) -> bool:
        """Whether what the evaluations so far show may still be mended."""
        return self.rounds <= self.thresholds.repair.rounds

    def _operate(self, version: Version, results: Mapping[str, ProbeResults]) -> Operation:
        failing = [r for rows in results.values() for r in rows.failing]
        if not failing or not self.may_repair:
            return Operation(version)
        base_passes = self._backbone_passes(version, failing)
        readable = self._with_full_texts(failing, version)
        shown = {name: rows.replaced(readable) for name, rows in results.items()}
        return self.repairer.operate(version, shown, base_passes)

    def _backbone_passes(
        self, version: Version, failing: Sequence[ProbeResult]
    ) -> set[tuple[str, str]]:
        """Those of the probes that an edit failed which the backbone would pass."""
        expects = {(s.name, p.id): p.expect for s in self.answered for p in s.probes}
        caught = [r for r in failing if r.edit is not None and (r.suite, r.probe_id) in expects]
        written = Written(self.runner.editor.backbone)
        wanted: list[tuple[Query, str | None]] = []
        for r in caught:
            expect = expects[r.suite, r.probe_id]
            if expect.kind == "exact":
                wanted.append(((r.prompt, None), written[expect.value]))
            elif expect.kind in FULL_TEXT_KINDS:
                wanted.append(((r.prompt, None), None))
        texts = self.runner.texts(version, references_of(wanted))
        passing = set()
        for r in caught:
            expect, base = expects[r.suite, r.probe_id], texts.get((r.prompt, None))
            if base is None:
                passes_base = expect.kind in ("unchanged", "absent")
            else:
                passes_base = base.whole and met(expect, base.text, base.text, r.expected or "")[0]
            if passes_base:
                passing.add((r.suite, r.probe_id))
        return passing

    def _measure(self, version: Version, evaluation: Evaluation) -> list[Suite]:
        """Add results of suites with a measure of their own. Returns accurate retention, if measured."""
        written = Written(self.runner.editor.backbone)
        live = [p for s in self.answered for p in in_force(s, version)]
        right = had_right(self.runner, version, live, evaluation.routes, written.__getitem__)
        extra = [Suite("accurate-retention", right, "perplexity")] if right else []
        suites = [*self.measured, *extra]
        prompts = prompts_of(p for s in suites for p in s.probes)
        router, champion = self.runner.router, self.champion
        old = router.mapped(champion, prompts) if champion is not None else {}
        setting = Setting(version, champion, router.mapped(version, prompts), old)
        self.measures.unproven.clear()
        for suite in suites:
            progress.report(f"measuring {suite.name}", 1, 1)
            limit = self.thresholds.of(suite.name).limit
            rows = self.measures.results(suite, setting, limit)
            evaluation.results[suite.name] = ProbeResults.of(rows)
        return extra

    def _without_narrow_edits(self, version: Version, evaluation: Evaluation) -> Operation:
        """Note the narrow edits, and take the new ones out where they are not to stay."""
        self.narrow = self.repairer.narrow_edits(evaluation.results)
        operation = Operation(version)
        if self.options.narrow == "keep" or not self.may_repair:
            return operation
        for edit, prompts in self.narrow.items():
            if self.champion is None or edit not in self.champion:
                reason = (
                    f"it is not found in {len(prompts)} wordings of its question: "
                    f'"{prompts[0][:80]}"'
                )
                operation.rejected.append(
                    Rejection(edit, reason, "narrow", prompts[0], "", "", True, prompts)
                )
        operation.version = version.without([r.edit for r in operation.rejected])
        return operation

    def _with_full_texts(
        self, failing: Sequence[ProbeResult], version: Version
    ) -> dict[int, ProbeResult]:
        """Answers of edits that failed, with texts long enough to read, by `id()` of the result."""
        caught = [
            r
            for r in failing
            if r.edit is not None
            and r.after is not None
            and self.runner.available(version, (r.prompt, r.edit)) is not None
        ][:MOST_SHOWN]
        queries: dict[Query, str | None] = {(r.prompt, r.edit): None for r in caught}
        texts = self.runner.texts(version, queries, read=SHOWN)
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

    def _record(self, operation: Operation) -> Version:
        self.rejected += operation.rejected
        self.repairs += operation.repairs
        return operation.version

    def _audit(self, version: Version, evaluation: Evaluation) -> int:
        if self.runner.full:
            return self.runner.decoder.texts
        size = self.thresholds.audit.size(len(evaluation.routes))
        return self.runner.audit(version, evaluation.routes, self.options.seed, size)

    def _result(
        self, version: Version, checks: Sequence[Check], results: ProbeResults = NONE
    ) -> GateResult:
        return GateResult(
            passed=passes(checks),
            version=version,
            rejected=tuple(self.rejected),
            checks=tuple(checks),
            probes=results,
            regenerated=self.runner.decoder.texts + self.measures.regenerated,
            cached=len(self.runner.from_cache),
            seconds=time.perf_counter() - self.began,
            repairs=tuple(self.repairs),
            candidate=self.candidate.id,
            champion=self.champion.id if self.champion else None,
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


def _edit_wordings(version: Version, suites: Sequence[Suite]) -> Mapping[str, list[str]]:
    """What each edit should answer: what it was trained on, and the rephrases held out."""
    wordings = {e.id: list(e.request.rephrases) for e in version.edits.values()}
    for suite in suites:
        if suite.name == "generality":
            for probe in suite.probes:
                if probe.edit in wordings:
                    wordings[probe.edit].append(text_of(probe.prompt))
    return wordings
