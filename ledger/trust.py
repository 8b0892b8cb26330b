"""Who may change what, as rules on values. Nothing here reads or writes the ledger.

An edit is held, with its reason in `hold`, while
    answer         nobody has said what the right answer is
    review         its source's policy asks for a person
    quorum         its source's policy asks for more independent sources
    blocked        all that said so are blocked
    rate           its source has sent more than its share this hour
    later          what it says is not valid yet
What is reported again is judged by who reports it, and only a source that may let an edit in by itself
changes its dates or its trust. So an untrusted report never displaces anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger import states


@dataclass(frozen=True)
class Evidence:
    """What is known of an edit that asks to be let in."""

    answered: bool  # somebody has said what the right answer is
    over: bool  # its valid-to has come
    early: bool  # its valid-from has not come yet
    approved: bool  # by a person
    unblocked: bool  # a source that is not blocked says so
    over_share: bool  # its source has sent more than its share this hour
    automatic: bool  # a source that lets edits in by itself says so
    by_quorum: bool  # sources say so that need each other
    agreed: bool  # and there are enough of them


@dataclass(frozen=True)
class RepeatedReport:
    """What is known of an edit that is reported again."""

    stands: str  # what it is held for, else its state
    later: bool  # a later valid-from is taken over
    claimed_later: bool  # somebody says a later valid-from
    new: bool  # a source says so that had not said so before
    weighty: bool  # and its policy is not review
    automatic: bool  # a source that lets edits in by itself says so
    agreed: bool  # enough sources that need each other say so


@dataclass(frozen=True)
class Admission:
    """Where an edit that was received goes."""

    to_state: str
    reason: str
    hold: str | None = None


def admission(evidence: Evidence) -> Admission:
    """Hold an edit, let it in, or end it."""
    if not evidence.answered:
        return _held("answer", "the right answer is not known yet")
    if evidence.over:
        return Admission(states.EXPIRED, "was no longer valid when it came", "expired")
    if evidence.early:
        return _held("later", "is not valid yet")
    if not evidence.approved:
        if not evidence.unblocked:
            return _held("blocked", "every source of it is blocked")
        if evidence.over_share:
            return _held("rate", "its source has sent more than its share this hour")
        if not evidence.automatic and not evidence.by_quorum:
            return _held("review", "its source asks for a review")
        if not evidence.automatic and not evidence.agreed:
            return _held("quorum", "waits for more independent sources")
    return Admission(states.READY, "accepted")


def is_judged_anew(report: RepeatedReport) -> bool:
    """Whether being reported again brings an edit before its judge once more.

    blocked                where one says so that is not blocked any more
    quorum                 where a source says so that had not said so before
    superseded             the same, or it is said to be valid from a later day
    expired                where a later valid-from is taken over
    review, contradiction  where a new source lets it in, or a quorum does
    """
    match report.stands:
        case "blocked":
            return True
        case "quorum":
            return report.later or report.weighty
        case states.SUPERSEDED:
            return report.claimed_later or report.new
        case states.EXPIRED:
            return report.later
        case "review" | "contradiction":
            return (report.automatic or report.agreed) and (report.later or report.weighty)
    return False


def _held(hold: str, reason: str) -> Admission:
    return Admission(states.HELD, reason, hold)
