"""Who wins a contradiction. Nothing here reads or writes the ledger.

The rules, in order:

    review       a person approved it, knowing of the other
    supersedes   it says that it supersedes the other, and is trusted at least as much
    valid-from   it is valid from a later day; an undated one is the older
    trust        its source is trusted more
    sources      more independent sources say so
    newest       both come from one source alone: the later report (or none, as settings say)
    (none)       both are held for review

A loser that is not in use ends at once. One that is (in a job or in a version) stays until the
winner is active, so a question is never left without either, and never has both.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger import states
from ledger.types import IntakeRules

NO_DATE = -(2**62)  # before every date

Decisions = list[tuple[str | None, str, str, str, bool]]


@dataclass(slots=True)
class Contender:
    """One side of a contradiction."""

    id: str
    target: str
    state: str
    fresh: bool
    seq: int
    valid_from: int  # microseconds since 1970
    trust: int
    sources: frozenset[str]
    names: frozenset[str]  # its id and the id that its source gave it
    declared: frozenset[str]
    question: str
    approved: bool  # by a review, in this conflict

    def rank(self) -> tuple[bool, int, int, int, int]:
        """Sorts contenders, the strongest last."""
        return self.approved, self.valid_from, self.trust, len(self.sources), self.seq


def decide(
    contenders: dict[str, Contender], rivals: dict[str, set[str]], rules: IntakeRules
) -> tuple[list[states.Step], Decisions]:
    """From the strongest to the weakest: an edit without an accepted or undecided rival is accepted."""
    order = sorted(contenders.values(), key=Contender.rank, reverse=True)
    order = _superseded_last(order, rivals)
    accepted: set[str] = set()
    undecided: set[str] = set()
    steps: dict[str, states.Step] = {}
    decisions: Decisions = []
    for edit in order:
        stronger = rivals[edit.id] & accepted or rivals[edit.id] & undecided
        if not stronger:
            accepted.add(edit.id)
            if edit.state in (states.RECEIVED, states.HELD):
                why = "accepted; wins its contradictions" if rivals[edit.id] else "accepted"
                steps[edit.id] = states.Step(edit.id, states.READY, why)
            continue
        ruled = ((_rule(contenders[rival], edit, rules), rival) for rival in sorted(stronger))
        rule, rival = min(ruled, key=lambda pair: pair[0] is None)
        new = edit.fresh or contenders[rival].fresh
        if rule is None or rival in undecided:
            _hold(edit, contenders[rival], accepted, undecided, steps)
            if new:
                decisions.append((None, edit.id, "undecided", edit.question, False))
            continue
        in_use = edit.state in states.IN_FLIGHT
        if new:
            decisions.append((rival, edit.id, rule, edit.question, not in_use))
        if not in_use:
            why = f"contradicted by {rival}: {rule}"
            steps[edit.id] = states.Step(edit.id, states.SUPERSEDED, why)
    return list(steps.values()), decisions


def _superseded_last(order: list[Contender], rivals: dict[str, set[str]]) -> list[Contender]:
    """Put each edit behind those that say they supersede it; a circle decides nothing."""
    if not any(edit.declared for edit in order):
        return order
    placed: list[Contender] = []
    waiting = list(order)
    while waiting:
        ready = [
            edit
            for edit in waiting
            if not any(_supersedes(other, edit) for other in waiting if other.id in rivals[edit.id])
        ]
        placed.extend(ready or waiting)
        waiting = [edit for edit in waiting if edit not in ready] if ready else []
    return placed


def _supersedes(edit: Contender, rival: Contender) -> bool:
    return (
        bool(edit.declared & rival.names)
        and edit.trust >= rival.trust
        and not rival.declared & edit.names
    )


def _rule(winner: Contender, loser: Contender, rules: IntakeRules) -> str | None:
    if winner.approved != loser.approved:
        return "review" if winner.approved else None
    if _supersedes(winner, loser):
        return "supersedes"
    if winner.valid_from != loser.valid_from:
        return "valid-from" if winner.valid_from > loser.valid_from else None
    if winner.trust != loser.trust:
        return "trust" if winner.trust > loser.trust else None
    if len(winner.sources) != len(loser.sources):
        return "sources" if len(winner.sources) > len(loser.sources) else None
    if rules.tie == "newest" and winner.sources == loser.sources and len(winner.sources) == 1:
        return "newest" if winner.seq > loser.seq else None
    return None


def _hold(
    edit: Contender,
    rival: Contender,
    accepted: set[str],
    undecided: set[str],
    steps: dict[str, states.Step],
) -> None:
    """Neither wins: hold both, except one that is in use, which stays."""

    def hold(one: Contender, other: Contender) -> None:
        if one.state in (states.RECEIVED, states.READY):
            reason = f"contradicts {other.id}; no rule decides"
            steps[one.id] = states.Step(one.id, states.HELD, reason, "contradiction")

    if edit.state in states.IN_FLIGHT and rival.state in states.IN_FLIGHT:
        return
    if edit.state not in states.IN_FLIGHT:
        undecided.add(edit.id)
        hold(edit, rival)
    if rival.state not in states.IN_FLIGHT and rival.id in accepted:
        accepted.discard(rival.id)
        undecided.add(rival.id)
        steps.pop(rival.id, None)
        hold(rival, edit)
