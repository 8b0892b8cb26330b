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

Steps = list[tuple[str, str, str, str | None]]
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
) -> tuple[Steps, Decisions]:
    """Go from the strongest to the weakest: one that meets no stronger rival is accepted."""
    order = sorted(contenders.values(), key=Contender.rank, reverse=True)
    order = _declared_last(order, rivals)
    accepted: set[str] = set()
    undecided: set[str] = set()
    steps: dict[str, tuple[str, str, str, str | None]] = {}
    decisions: Decisions = []
    for one in order:
        met = rivals[one.id] & accepted or rivals[one.id] & undecided
        if not met:
            accepted.add(one.id)
            if one.state in (states.RECEIVED, states.HELD):
                steps[one.id] = (one.id, states.READY, "accepted; wins its contradictions", None)
            continue
        ruled = ((_rule(contenders[other], one, rules), other) for other in sorted(met))
        rule, other = min(ruled, key=lambda pair: pair[0] is None)
        new = one.fresh or contenders[other].fresh
        if rule is None or other in undecided:
            _hold(one, contenders[other], accepted, undecided, steps)
            if new:
                decisions.append((None, one.id, "undecided", one.question, False))
            continue
        in_use = one.state in states.IN_FLIGHT
        if new:
            decisions.append((other, one.id, rule, one.question, not in_use))
        if not in_use:
            why = f"contradicted by {other}: {rule}"
            steps[one.id] = (one.id, states.SUPERSEDED, why, None)
    return list(steps.values()), decisions


def _declared_last(order: list[Contender], rivals: dict[str, set[str]]) -> list[Contender]:
    """Put what is explicitly superseded behind what says so; a circle decides nothing."""
    if not any(one.declared for one in order):
        return order
    placed: list[Contender] = []
    waiting = list(order)
    while waiting:
        ready = [
            one
            for one in waiting
            if not any(_supersedes(other, one) for other in waiting if other.id in rivals[one.id])
        ]
        placed.extend(ready or waiting)
        waiting = [one for one in waiting if one not in ready] if ready else []
    return placed


def _supersedes(one: Contender, other: Contender) -> bool:
    return (
        bool(one.declared & other.names)
        and one.trust >= other.trust
        and not other.declared & one.names
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
    one: Contender,
    other: Contender,
    accepted: set[str],
    undecided: set[str],
    steps: dict[str, tuple[str, str, str, str | None]],
) -> None:
    """Neither wins: hold both, except one that is in use, which stays."""
    reason = "contradicts {}; no rule decides"
    if one.state in states.IN_FLIGHT and other.state in states.IN_FLIGHT:
        return
    if one.state not in states.IN_FLIGHT:
        undecided.add(one.id)
        if one.state in (states.RECEIVED, states.READY):
            steps[one.id] = (one.id, states.HELD, reason.format(other.id), "contradiction")
    if other.state not in states.IN_FLIGHT and other.id in accepted:
        accepted.discard(other.id)
        undecided.add(other.id)
        steps.pop(other.id, None)
        if other.state in (states.RECEIVED, states.READY):
            steps[other.id] = (other.id, states.HELD, reason.format(one.id), "contradiction")
