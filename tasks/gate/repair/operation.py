"""Repair: take the harm out of a version, and nothing else. Nothing is trained here.

an edit's own prompt fails
    answered by its own block, or by none ──► the edit is taken out (worth a second training)
    answered by another edit              ──► that edit takes a question that is another's: see below
an edit fails by its own answers in a suite that judges edits
    found in that wording, and wrong      ──► taken out (worth a second training, with the wording)
    not found in that wording             ──► narrow: kept, or taken out where `gate.narrow` says so
a protected probe fails, answered by an edit, where the backbone would have passed
    ──► shrink the edit's radius to leave the probe outside (that for prompts that name it partly in
        proportion), if its own prompt and all wordings that are inside now stay inside;
        else the edit is taken out, with the probe as evidence
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from melo_engine import Version
from melo_engine.index import Member
from melo_engine.matching.names import name_in
from tasks.gate.results import ProbeResults
from tasks.gate.runner.runner import Runner
from tasks.gate.types import ProbeResult, Rejection, Repair, text_of
from tasks.gate.verdict.thresholds import Thresholds

OWN_SUITES = ("edit-success", "retention")
SHOWN = 80  # characters of a text in a reason


@dataclass
class Operation:
    """What was changed. version: the one without the harm."""

    version: Version
    rejected: list[Rejection] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was changed."""
        return bool(self.rejected or self.repairs)


@dataclass(frozen=True)
class Repairer:
    """Repairs the versions of one gate.

    owners: by suite and probe, the edit that it was made for. wordings: by edit, prompts that it
    should answer.
    """

    runner: Runner
    thresholds: Thresholds
    owners: Mapping[tuple[str, str], str]
    wordings: Mapping[str, Sequence[str]]

    def operate(
        self,
        version: Version,
        results: Mapping[str, ProbeResults],
        base_passes: Set[tuple[str, str]],
    ) -> Operation:
        """Take out, or shrink, what failed probes blame. base_passes: those that the backbone passes."""
        operation = Operation(version)
        out: dict[str, Rejection] = {}
        caught: dict[str, list[ProbeResult]] = defaultdict(list)
        for suite, rows in results.items():
            if self._judges_edits(suite):
                continue
            for result in rows.failing:
                owner = self.owners.get((suite, result.probe_id))
                if suite in OWN_SUITES and owner is not None:
                    if result.edit is None or result.edit == owner:
                        out.setdefault(owner, _reject_wrong_answer(owner, result))
                    else:
                        caught[result.edit].append(result)
                elif (
                    result.edit is not None
                    and self.thresholds.of(suite).protected
                    # Where the backbone fails the probe too, taking the edit out would mend nothing.
                    and (suite, result.probe_id) in base_passes
                ):
                    caught[result.edit].append(result)
        # Else what is compared with a taken question would condemn its owner.
        if not out and not caught:
            for suite, rows in results.items():
                if self._judges_edits(suite):
                    its_owners = {r.probe_id: self.owners.get((suite, r.probe_id)) for r in rows}
                    failing = failing_edits(rows, its_owners, self.thresholds.of(suite).share)
                    for edit, wrong in failing.items():
                        out.setdefault(edit, _reject_wrong_wordings(edit, wrong))
        for edit, probes in caught.items():
            if edit in out:
                continue
            member = version.member(edit)
            nearest = min(probes, key=lambda r: (_share(member, r), r.probe_id))
            radius = self.thresholds.repair.clearance * _share(member, nearest) * member.radius
            if self._keeps_own_wordings(version, edit, radius):
                operation.version = operation.version.with_radius(edit, radius)
                operation.repairs.append(
                    Repair(
                        edit, version[edit].radius, radius, nearest.suite, text_of(nearest.prompt)
                    )
                )
            else:
                owner = self.owners.get((nearest.suite, nearest.probe_id))
                whose = owner if nearest.suite in OWN_SUITES else None
                blamed = _later_edit(version, edit, whose)
                out.setdefault(blamed, _reject_harm(blamed, nearest, whose))
        if out:
            operation.version = operation.version.without(sorted(out))
            operation.rejected = list(out.values())
            operation.repairs = [r for r in operation.repairs if r.edit not in out]
        return operation

    def narrow_edits(self, results: Mapping[str, ProbeResults]) -> dict[str, tuple[str, ...]]:
        """Edits that are not found in some wording of their question, with those wordings."""
        narrow: dict[str, dict[str, None]] = defaultdict(dict)
        for suite, rows in results.items():
            if not self._judges_edits(suite):
                continue
            for result in rows.failing:
                owner = self.owners.get((suite, result.probe_id))
                if owner is not None and result.edit != owner:
                    narrow[owner][text_of(result.prompt)] = None
        return {edit: tuple(prompts) for edit, prompts in narrow.items()}

    def _judges_edits(self, suite: str) -> bool:
        """Whether a suite is about other wordings and measures of an edit's own answers."""
        return self.thresholds.of(suite).judges == "edit" and suite not in OWN_SUITES

    def _keeps_own_wordings(self, version: Version, edit: str, radius: float) -> bool:
        """Whether every wording that the edit reaches now is still reached at the smaller radius."""
        member = version.member(edit)
        if not 0 < radius < member.radius:
            return False
        prompts = [version[edit].request.question, *self.wordings.get(edit, ())]
        names = [name_in(p, member.names) for p in prompts]
        keys = self.runner.keys.of(prompts, names)  # (n, K)
        for name, key in zip(names, keys, strict=True):
            named = name is not None
            reach = _reach(member, named)
            distance = version.projection.distance(member.key, key, by_relation=named)
            if radius / member.radius * reach < distance <= reach:
                return False
        return True


def failing_edits(
    results: Sequence[ProbeResult], owners: Mapping[str, str | None], share: float
) -> dict[str, list[ProbeResult]]:
    """Edits of whose own answers less than `share` are right, each with what it got wrong.

    A wording in which an edit is not found is none of its answers. owners: by probe id.
    """
    answered: dict[str, list[ProbeResult]] = defaultdict(list)
    for result in results:
        owner = owners.get(result.probe_id)
        if owner is not None and result.edit == owner:
            answered[owner].append(result)
    failing = {}
    for edit, rows in answered.items():
        wrong = [r for r in rows if not r.passed]
        if len(rows) - len(wrong) < share * len(rows):
            failing[edit] = wrong
    return failing


def _share(member: Member, result: ProbeResult) -> float:
    """A caught probe's distance relative to the radius that caught it."""
    reach = _reach(member, name_in(text_of(result.prompt), member.names) is not None)
    return result.distance / reach if reach else 0.0


def _reach(member: Member, named: bool) -> float:
    """The radius that counts for a prompt that names the edit's subject, or does so partly."""
    return member.radius if named or not member.names else member.content_radius


def _later_edit(version: Version, edit: str, owner: str | None) -> str:
    """Of two edits that stand on one point the later gives way: what is established stays."""
    if owner is None or owner == edit or owner not in version:
        return edit
    return max(edit, owner, key=lambda e: (version[e].order, e))


def _reject_wrong_answer(edit: str, result: ProbeResult) -> Rejection:
    if result.edit is None:
        reason = "its own prompt lies outside its radius"
    else:
        reason = f'its own prompt is answered "{_cut(result.after)}", not "{_cut(result.expected)}"'
    return Rejection.by(result, edit, reason, retry=True)


def _reject_wrong_wordings(edit: str, wrong: Sequence[ProbeResult]) -> Rejection:
    """It catches wordings of its own question, but answers them wrongly, in loops or inconsistently."""
    first = wrong[0]
    reason = (
        f'it answers its own question in the wording "{_cut(text_of(first.prompt))}" with '
        f'"{_cut(first.after)}", not "{_cut(first.expected)}" ({first.suite})'
    )
    wordings = tuple(dict.fromkeys(r.prompt for r in wrong if isinstance(r.prompt, str)))
    return Rejection.by(first, edit, reason, retry=True, wordings=wordings)


def _reject_harm(edit: str, result: ProbeResult, whose: str | None) -> Rejection:
    taken = f", the own question of edit {whose}," if whose and whose != edit else ","
    if whose == edit:  # the later of the two gives way, and that is the one that is asked for
        reason = (
            f"edit {result.edit} was there first and answers its own question "
            f'"{_cut(text_of(result.prompt))}"; neither radius can be shrunk'
        )
    else:
        reason = (
            f'it answers "{_cut(text_of(result.prompt))}" ({result.suite}){taken} which it is not '
            "about, and its radius can't be shrunk without losing its own wordings"
        )
    return Rejection.by(result, edit, reason)


def _cut(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
