"""Gate a version that is on record, as it is: for the command line and the nightly audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from artifacts.tags import CHAMPION
from execution.context import Context
from execution.lineage import BASE, resolve
from melo_engine import Version
from tasks.gate.cache.answers import AnswerCache
from tasks.gate.errors import SuiteError
from tasks.gate.gate import GateOptions, gate_candidate
from tasks.gate.report.page import write_report
from tasks.gate.suites.of_ledger import suites_from
from tasks.gate.types import GateResult
from tasks.gate.verdict.thresholds import RepairRules


def gate_by_hand(
    context: Context,
    name: str = "champion",
    *,
    full: bool = False,
    only: Sequence[str] | None = None,
    seed: int = 0,
) -> GateResult:
    """Gate a version by its name or id against the champion, or its parent if it is the champion.

    full: generate every answer anew and compare with the cache. only: names of suites. Raises
    UnknownVersion, and SuiteError for a suite that isn't there.
    """
    version_id = resolve(context.ledger, name)
    version = context.versions.open(version_id)
    champion = _compared_with(context, version_id)
    options = replace(GateOptions.of_home(context.settings), seed=seed, full=full)
    thresholds = replace(options.thresholds, repair=RepairRules(rounds=0))
    suites = suites_from(
        context.ledger, version, champion, folder=context.paths.suites, seed=seed, audited=full
    )
    if only:
        unknown = [s for s in only if s not in {x.name for x in suites}]
        if unknown:
            available = ", ".join(dict.fromkeys(x.name for x in suites))
            raise SuiteError(f'no suite "{unknown[0]}"; there are: {available}.')
        suites = [s for s in suites if s.name in only]
        chosen = {k: replace(v, required=False) for k, v in thresholds.suites.items()}
        thresholds = replace(thresholds, suites=chosen)
    with AnswerCache.open(context.paths.answers) as cache:
        return gate_candidate(
            context.versions.editor(version_id),
            version,
            champion,
            suites=suites,
            cache=cache,
            options=replace(options, thresholds=thresholds),
        )


def audit(context: Context) -> GateResult:
    """Gate the champion in full, compare every answer with the cache, and keep an event of it."""
    result = gate_by_hand(context, CHAMPION, full=True)
    write_report(result, context.paths.report(result.candidate) / "audit")
    context.ledger.events.record(
        "audit",
        result.reason,
        severity="info" if result.passed else "error",
        version=result.candidate,
    )
    return result


def _compared_with(context: Context, version: str) -> Version | None:
    champion = context.ledger.champions.current()
    other = champion.version if champion else None
    if other == version and version != BASE:
        other = context.ledger.versions.get(version).parent
    return context.versions.open(other) if other and other != BASE else None
