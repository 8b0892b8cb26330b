"""Is a version what it says it is? Asked before any probe, since it costs no answer.

    a radius that is no number                   the edit is taken out
    a block whose content is not that on record  the edit is taken out
    a radius far beyond those of its like        shrunk to theirs

Calibration only ever cuts the common reach, so radii stand close below one value; one that stands
far above it was not calibrated. A bound edit that reaches too far is seen by hardly a probe: only
prompts that name its subject can show it.
"""

from __future__ import annotations

import math

import numpy as np

from melo_engine import Edit, Version
from tasks.gate.repair.operation import Operation
from tasks.gate.runner.runner import Runner
from tasks.gate.types import Check, Rejection, Repair

SUITE = "integrity"
PEERS = 5  # fewer say nothing about what is common
COMMON = 90.0  # percentile of the others' radii that counts as their reach
BEYOND = 2.0  # times that is too far


def inspected(version: Version, runner: Runner) -> Operation:
    """The version without what is broken in itself, and what that was."""
    operation = Operation(version)
    operation.rejected = [r for e in version.edits.values() if (r := _broken(e, version, runner))]
    if operation.rejected:
        operation.version = version.without([r.edit for r in operation.rejected])
    for names in (True, False):
        edits = operation.version.edits.values()
        operation = _cut_back(operation, [e for e in edits if bool(e.request.names) is names])
    return operation


def integrity_checks(operation: Operation) -> list[Check]:
    """The findings as checks that failed, for a gate that is to mend nothing."""
    reasons = [f"edit {r.edit}: {r.reason}" for r in operation.rejected]
    reasons += [
        f"edit {r.edit}: its radius {r.radius_before:.4g} is far beyond {r.radius_after:.4g}, "
        "which is common"
        for r in operation.repairs
    ]
    broken, size = float(len(reasons)), len(operation.version)
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    reason = reasons[0] + more if reasons else ""
    return [Check(SUITE, "broken edits", broken, "none", 0.0, size, not broken, reason)]


def _broken(edit: Edit, version: Version, runner: Runner) -> Rejection | None:
    bad = [r for r in (edit.radius, edit.content_radius) if not (math.isfinite(r) and r >= 0)]
    if bad:
        reason = f"its radius is {bad[0]}; it must be a finite number >= 0"
    elif runner.block(version, edit.id) != edit.block:
        reason = (
            f"its block is not the one on record: {runner.block(version, edit.id)[:12]} "
            f"instead of {edit.block[:12]}"
        )
    else:
        return None
    return Rejection(edit.id, reason, SUITE, edit.request.question, "", "")


def _cut_back(operation: Operation, edits: list[Edit]) -> Operation:
    if len(edits) <= PEERS:
        return operation
    common = float(np.percentile([e.radius for e in edits], COMMON))
    for edit in edits:
        if edit.radius > BEYOND * common > 0:
            operation.version = operation.version.with_radius(edit.id, common)
            question = edit.request.question
            operation.repairs.append(Repair(edit.id, edit.radius, common, SUITE, question))
    return operation
