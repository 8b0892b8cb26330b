"""Who may change what, as rules on values: no ledger is opened here."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.states import ALLOWED, EXPIRED, HELD, READY, RECEIVED
from ledger.trust import Evidence, RepeatedReport, admission, is_judged_anew

TRUSTED = Evidence(
    answered=True,
    over=False,
    early=False,
    approved=False,
    unblocked=True,
    over_share=False,
    automatic=True,
    by_quorum=False,
    agreed=False,
)
REPEATED = RepeatedReport(
    "active",
    later=False,
    claimed_later=False,
    new=False,
    weighty=False,
    automatic=True,
    agreed=False,
)


@pytest.mark.parametrize(
    ("facts", "state", "hold"),
    [
        ({}, READY, None),
        ({"answered": False, "over": True}, HELD, "answer"),
        ({"over": True}, EXPIRED, "expired"),
        ({"early": True, "approved": True}, HELD, "later"),
        ({"unblocked": False, "approved": True}, READY, None),
        ({"unblocked": False, "automatic": False}, HELD, "blocked"),
        ({"over_share": True}, HELD, "rate"),
        ({"automatic": False}, HELD, "review"),
        ({"automatic": False, "by_quorum": True}, HELD, "quorum"),
        ({"automatic": False, "by_quorum": True, "agreed": True}, READY, None),
    ],
)
def test_the_first_reason_that_holds_an_edit_is_given(
    facts: dict[str, bool], state: str, hold: str | None
) -> None:
    decided = admission(replace(TRUSTED, **facts))
    assert (decided.to_state, decided.hold) == (state, hold)


@given(st.builds(Evidence))
def test_whatever_is_known_an_edit_takes_a_step_that_exists(evidence: Evidence) -> None:
    assert admission(evidence).to_state in ALLOWED[RECEIVED]


@given(st.builds(Evidence))
def test_who_speaks_for_an_edit_never_lets_in_what_has_no_answer_or_is_not_valid(
    evidence: Evidence,
) -> None:
    if not evidence.answered or evidence.over or evidence.early:
        assert admission(evidence).to_state != READY


@pytest.mark.parametrize(
    ("stands", "facts", "anew"),
    [
        ("blocked", {}, True),
        ("quorum", {}, False),
        ("quorum", {"weighty": True}, True),
        ("superseded", {"claimed_later": True}, True),
        ("superseded", {"new": True}, True),
        ("expired", {"claimed_later": True, "new": True}, False),
        ("expired", {"later": True}, True),
        ("review", {"weighty": True}, True),
        ("review", {"weighty": True, "automatic": False}, False),
        ("contradiction", {"weighty": True, "automatic": False, "agreed": True}, True),
        ("contradiction", {}, False),
    ],
)
def test_what_is_said_again_is_judged_by_who_says_it_and_what_is_new(
    stands: str, facts: dict[str, bool], anew: bool
) -> None:
    assert is_judged_anew(replace(REPEATED, stands=stands, **facts)) is anew


@given(
    st.builds(
        RepeatedReport, stands=st.sampled_from(["ready", "active", "revoked", "rejected", "rate"])
    )
)
def test_what_is_in_use_or_was_taken_back_is_not_judged_anew(report: RepeatedReport) -> None:
    assert not is_judged_anew(report)
