"""Surgery: take the harm out of a version, and nothing else. Nothing is trained.

an edit's own prompt fails
    answered by its own block, or by none ──► the edit is taken out (worth a second training)
    answered by another edit              ──► that edit reaches too far: see below
a protected probe fails, answered by an edit, where the backbone would have passed
    ──► shrink the edit's radius to leave the probe outside (that for prompts that name it partly in
        proportion), if its own prompt and all wordings that are inside now stay inside;
        else the edit is taken out, with the probe as evidence
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from melo_engine import Version
from melo_engine.index import Member
from melo_engine.matching.names import name_in
from tasks.gate.desk import Desk
from tasks.gate.thresholds import Thresholds
from tasks.gate.types import ProbeResult, Rejection, Repair

OWN_SUITES = ("edit-success", "retention")
Owners = Mapping[tuple[str, str], str | None]  # (suite, probe id) -> the edit that it was made for
Wordings = Mapping[str, Sequence[str]]  # edit id -> prompts that it should answer


@dataclass
class Operation:
    """What was done. version: without the harm, as far as it was found."""

    version: Version
    rejected: list[Rejection] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether anything was changed."""
        return bool(self.rejected or self.repairs)


def operate(
    version: Version,
    failed: Sequence[ProbeResult],
    owners: Owners,
    helped: Mapping[tuple[str, str], bool],
    wordings: Wordings,
    desk: Desk,
    thresholds: Thresholds,
) -> Operation:
    """Take the culprits of failed probes out, or in. helped: would the backbone have passed it?"""
    done = Operation(version)
    out: dict[str, Rejection] = {}
    caught: dict[str, list[ProbeResult]] = defaultdict(list)
    for result in failed:
        owner = owners.get((result.suite, result.probe_id))
        if result.suite in OWN_SUITES and owner is not None:
            if result.edit is None or result.edit == owner:
                out.setdefault(owner, _unsuccessful(owner, result))
            else:
                caught[result.edit].append(result)
        elif (
            result.edit is not None
            and thresholds.of(result.suite).protected
            # Where the backbone fails the probe too, taking the edit out would mend nothing.
            and helped.get((result.suite, result.probe_id), False)
        ):
            caught[result.edit].append(result)
    for edit, probes in caught.items():
        if edit in out:
            continue
        member = version.index[edit]
        nearest = min(probes, key=lambda r: (_share(member, r), r.probe_id))
        radius = thresholds.surgery.clearance * _share(member, nearest) * member.radius
        if _keeps_its_own(version, edit, radius, wordings, desk):
            done.version = done.version.with_radius(edit, radius)
            done.repairs.append(
                Repair(edit, version[edit].radius, radius, nearest.suite, nearest.prompt)
            )
        else:
            blamed = _later(version, edit, owners.get((nearest.suite, nearest.probe_id)))
            out.setdefault(blamed, _harmful(blamed, nearest))
    if out:
        done.version = done.version.without(sorted(out))
        done.rejected = list(out.values())
        done.repairs = [r for r in done.repairs if r.edit not in out]
    return done


def _keeps_its_own(
    version: Version, edit: str, radius: float, wordings: Wordings, desk: Desk
) -> bool:
    """Whether every wording that the edit reaches now is still reached at the smaller radius."""
    member = version.index[edit]
    if not 0 < radius < member.radius:
        return False
    split = version.projection.relation_size
    prompts = [version[edit].request.prompt, *wordings.get(edit, ())]
    names = [name_in(p, member.names) for p in prompts]
    apart = desk.keys.of(prompts, names) - member.key  # (n, K)
    for name, gap in zip(names, apart, strict=True):
        part = slice(0, split) if name is not None else slice(split, None)
        reach = _reach(member, name is not None)
        distance = float(np.linalg.norm(gap[part]))
        if radius / member.radius * reach < distance <= reach:
            return False
    return True


def _share(member: Member, result: ProbeResult) -> float:
    """A caught probe's distance relative to the radius that caught it."""
    reach = _reach(member, name_in(result.prompt, member.names) is not None)
    return result.distance / reach if reach else 0.0


def _reach(member: Member, named: bool) -> float:
    """The radius that counts for a prompt that names the edit's subject, or does so partly."""
    return member.radius if named or not member.names else member.content_radius


def _later(version: Version, edit: str, owner: str | None) -> str:
    """Of two edits that stand on one point the later gives way: what is established stays."""
    if owner is None or owner == edit or owner not in version:
        return edit
    return max(edit, owner, key=lambda e: (version[e].order, e))


def _unsuccessful(edit: str, result: ProbeResult) -> Rejection:
    if result.edit is None:
        reason = "its own prompt lies outside its radius"
    else:
        reason = f'its own prompt is answered "{_cut(result.after)}", not "{_cut(result.expected)}"'
    return _rejection(edit, reason, result, retry=True)


def _harmful(edit: str, result: ProbeResult) -> Rejection:
    reason = (
        f'it answers "{_cut(result.prompt)}" ({result.suite}), which it is not about, and its '
        "radius can't be shrunk without losing its own wordings"
    )
    return _rejection(edit, reason, result)


def _rejection(edit: str, reason: str, result: ProbeResult, retry: bool = False) -> Rejection:
    return Rejection(
        edit, reason, result.suite, result.prompt, result.before or "", result.after or "", retry
    )


def _cut(text: str | None, length: int = 80) -> str:
    text = text or ""
    return text if len(text) <= length else text[: length - 1] + "…"
