"""Suites of a version with everything that the ledger knows about its edits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from melo_engine import EditRequest, Prompt, Version
from tasks.gate.suites.files import load_suites
from tasks.gate.suites.from_edits import SuiteInputs, own_questions, suites_for
from tasks.gate.suites.traffic import AUDIT, HELD_BACK, NAME
from tasks.gate.types import Expectation, Suite, text_of

if TYPE_CHECKING:
    from ledger import Ledger  # a gate by itself needs no database

GONE = ("revoked", "superseded", "expired")
MOST_RETIRED = 5000


def suites_from(
    ledger: Ledger,
    version: Version,
    champion: Version | None = None,
    *,
    folder: str | Path | None = None,
    seed: int = 0,
    audited: bool = False,
) -> list[Suite]:
    """A folder's own suites, and those made from a version's edits and the ledger.

    audited: with those that only audits ask.

    The ledger gives the targets that are wanted, rephrases that were not trained on, locality
    questions with their answers, sources and relations to break results down by, names for
    near-misses, and the edits that were taken back.
    """
    edits = {e.id: e for e in ledger.edits.find()}
    active = {i: edits[i] for i in version.edits if i in edits}
    retired = [
        EditRequest(e.prompt, e.target, e.subject, id=e.id)
        for e in edits.values()
        if e.state in GONE and e.target and e.id not in version
    ]
    inputs = SuiteInputs(
        retired=retired[-MOST_RETIRED:],
        known_subjects=sorted({e.subject for e in edits.values() if e.subject}),
        held_out={
            i: [p for p in e.rephrases if p not in version[i].request.rephrases]
            for i, e in active.items()
        },
        targets={i: e.target for i, e in active.items() if e.target},
        slices={
            i: {k: v for k, v in (("source", e.source), ("relation", e.relation)) if v}
            for i, e in edits.items()
        },
    )
    from_edits = suites_for(version, inputs, champion=champion, seed=seed)
    answers: dict[Prompt, str] = {
        p.prompt: p.answer for e in active.values() for p in e.locality if p.answer
    }
    owners_of = own_questions(version, inputs.held_out)
    from_folder = load_suites(folder) if folder is not None else []
    if folder is not None and audited:
        from_folder += load_suites(Path(folder) / AUDIT)
    return [
        *(_unowned(s, owners_of) if s.name in (NAME, HELD_BACK) else s for s in from_folder),
        *(_with_answers(s, answers) if s.name == "locality" else s for s in from_edits),
    ]


def _unowned(suite: Suite, owners_of: Callable[[str], list[str]]) -> Suite:
    """The suite without what has become an edit's own question since it was recorded."""
    return replace(suite, probes=tuple(p for p in suite.probes if not owners_of(text_of(p.prompt))))


def _with_answers(suite: Suite, answers: dict[Prompt, str]) -> Suite:
    """The suite with the known answers, which tell what the backbone had right."""
    probes = tuple(
        replace(p, expect=Expectation("unchanged", answers[p.prompt])) if p.prompt in answers else p
        for p in suite.probes
    )
    return replace(suite, probes=probes)
