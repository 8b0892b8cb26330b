"""From results to a verdict: a check for every suite and question, each with bound and reason."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tasks.gate.measures.measures import perplexity_check
from tasks.gate.measures.statistics import mcnemar_worse, wilson
from tasks.gate.repair.operation import failing_edits
from tasks.gate.results import ProbeResults
from tasks.gate.runner.runner import Difference
from tasks.gate.types import Check, ProbeResult, Suite, text_of
from tasks.gate.verdict.thresholds import SuiteThreshold, Thresholds

NAN = math.nan


def checks_of(
    suites: Sequence[Suite],
    results: Mapping[str, Sequence[ProbeResult]],
    thresholds: Thresholds,
    *,
    against_champion: bool,
) -> list[Check]:
    """All checks of all suites. A missing or empty suite, and a value that is no number, fails."""
    checks = [
        _failed(name, "present", "the suite is missing")
        for name in thresholds.required
        if name not in results
    ]
    for suite in suites:
        rows, wanted = results.get(suite.name, ()), thresholds.of(suite.name)
        if suite.problem:
            checks.append(_failed(suite.name, "readable", suite.problem, n=len(rows)))
        checks.append(count_check(suite.name, len(rows), wanted))
        if not rows:
            continue
        if suite.purpose == "perplexity":
            checks.append(perplexity_check(suite.name, rows, wanted, thresholds.confidence))
            continue
        checks += _numbers(suite, rows)
        if wanted.judges == "edit" and all(p.edit is not None for p in suite.probes):
            checks.append(edits_check(suite, rows, wanted))
            continue
        checks.append(share_check(suite.name, rows, wanted, thresholds.confidence))
        if against_champion and wanted.worse > 0:
            checks.append(_paired(suite.name, rows, wanted))
        checks += _slices(suite.name, rows, wanted, thresholds.slice_confidence)
    return checks


def count_check(suite: str, n: int, wanted: SuiteThreshold) -> Check:
    """Are there enough probes for the rest to mean anything?"""
    reason = "" if n >= wanted.least else f"{n} probes; at least {wanted.least} are needed"
    return Check(suite, "probes", n, "none", wanted.least, n, not reason, reason)


def share_check(
    suite: str, rows: Sequence[ProbeResult], wanted: SuiteThreshold, confidence: float
) -> Check:
    """The share of probes that passed, judged on the bound that the threshold names."""
    failing = rows.failing if isinstance(rows, ProbeResults) else [r for r in rows if not r.passed]
    n, passed = len(rows), len(rows) - len(failing)
    low, high = wilson(passed, n, confidence)
    bound = wanted.bound
    if bound == "upper" and 0 < wanted.proof_from <= n:
        bound = "lower"
    judged = {"none": passed / n, "lower": low, "upper": high}[bound]
    reason = ""
    if not judged >= wanted.share:
        which = f"; first: {_where(failing[0])}" if failing else ""
        side = "" if bound == "none" else f", {bound} bound {judged:.3f}"
        reason = f"{passed} of {n} pass{side}; {wanted.share:g} is asked for{which}"
    return Check(suite, "share", passed / n, bound, wanted.share, n, not reason, reason)


def edits_check(suite: Suite, rows: Sequence[ProbeResult], wanted: SuiteThreshold) -> Check:
    """Edits that fail by their own answers. Once they are taken out, the others pass without them."""
    owners = {p.id: p.edit for p in suite.probes}
    edits = {owners[r.probe_id] for r in rows}
    failing = failing_edits(rows, owners, wanted.share)
    reason = ""
    if failing:
        edit, first = next(iter(failing.items()))
        more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
        reason = f"edit {edit} fails its own probes{more}; first: {_where(first[0])}"
    value = 1 - len(failing) / len(edits)
    return Check(suite.name, "edits that pass", value, "none", 1.0, len(edits), not reason, reason)


def difference_checks(differences: Sequence[Difference], audited: int) -> list[Check]:
    """The cache's answers must be the model's."""
    reason = ""
    if differences:
        d = differences[0]
        description = {
            "damaged": "its row in the cache was changed by hand or damaged",
            "changed": f'the cache has "{d.cached[:60]}", the model says "{d.fresh[:60]}"',
            "misrouted": f"looked up and asked differ: {d.fresh}",
        }[d.why]
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        reason = f'"{text_of(d.prompt)[:80]}" ({_by(d.edit)}): {description}{more}'
    value = float(len(differences))
    return [Check("cache", "differences", value, "none", 0.0, audited, not differences, reason)]


def passes(checks: Iterable[Check]) -> bool:
    """Whether a verdict is a pass. No checks are no pass; nor is a check without a number."""
    checks = list(checks)
    return bool(checks) and all(c.passed and math.isfinite(c.value) for c in checks)


def _numbers(suite: Suite, rows: Sequence[ProbeResult]) -> list[Check]:
    """Where a measure was asked for, every value must be a number, however many pass."""
    if suite.purpose == "answers":
        measured = {p.id for p in suite.probes if p.expect.kind == "metric"}
        rows = [r for r in rows if r.probe_id in measured] if measured else []
    if not rows:
        return []
    broken = [r for r in rows if not math.isfinite(r.value)]
    reason = f"{len(broken)} are no number; first: {_where(broken[0])}" if broken else ""
    value = 1 - len(broken) / len(rows)
    return [Check(suite.name, "numbers", value, "none", 1.0, len(rows), not reason, reason)]


def _paired(suite: str, rows: Sequence[ProbeResult], wanted: SuiteThreshold) -> Check:
    lost: list[ProbeResult] = []
    won = pairs = 0
    for row in rows:
        pairs += row.passed_before is not None
        won += row.passed and row.passed_before is False
        if row.passed_before and not row.passed:
            lost.append(row)
    p = mcnemar_worse(len(lost), won)
    reason = ""
    if not p >= wanted.worse:
        reason = (
            f"{len(lost)} probes lost against the champion, {won} won (p = {p:.2g}); "
            f"first: {_where(lost[0])}"
        )
    return Check(suite, "worse than champion", p, "exact", wanted.worse, pairs, not reason, reason)


def _slices(
    suite: str, rows: Sequence[ProbeResult], wanted: SuiteThreshold, confidence: float
) -> list[Check]:
    """Slices that are surely below what is asked of the whole."""
    sizes: Counter[tuple[str, str]] = Counter()
    lost: dict[tuple[str, str], list[ProbeResult]] = defaultdict(list)
    for row in rows:
        sizes.update(row.slices.items())
        for part in row.slices.items() if not row.passed else ():
            lost[part].append(row)
    checks = []
    for part, n in sorted(sizes.items()):
        (name, value), failed = part, lost.get(part, [])
        passed = n - len(failed)
        if n < wanted.slice_least or n == len(rows):
            continue
        high = wilson(passed, n, confidence)[1]
        reason = ""
        if passed < n and not high >= wanted.share:  # the bound of n of n may round below 1
            reason = (
                f"{passed} of {n} pass, upper bound {high:.3f}; {wanted.share:g} is asked for; "
                f"first: {_where(failed[0])}"
            )
        metric = f"share where {name} is {value}"
        checks.append(
            Check(suite, metric, passed / n, "upper", wanted.share, n, not reason, reason)
        )
    return checks


def _failed(suite: str, metric: str, reason: str, n: int = 0) -> Check:
    return Check(suite, metric, NAN, "none", NAN, n, False, reason)


def _where(result: ProbeResult) -> str:
    return f'"{text_of(result.prompt)[:80]}" ({_by(result.edit)})'


def _by(edit: str | None) -> str:
    return f"edit {edit}" if edit else "the backbone"
