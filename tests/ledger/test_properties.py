"""Whatever comes in whatever order: lines add up, and no question has two live answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import IntakeRules, Ledger, SourceRule
from tests.ledger.support import later, report, take

RULES = IntakeRules(
    sources=(
        SourceRule("a", trust=80),
        SourceRule("q", policy="quorum"),
        SourceRule("r", policy="review"),
    ),
)

reports = st.builds(
    lambda prompt, target, source, more: report(
        prompt, target, source=source, **{key: value for key, value in more.items() if value}
    ),
    st.sampled_from(["p of S?", "P of\u00a0S ？", "q, S?", "“r S?”"]),
    st.sampled_from(["x", "y", "z", None]),
    st.sampled_from(["a", "b", "c", "q", "r"]),
    st.fixed_dictionaries(
        {
            "valid_from": st.sampled_from([None, "2020", "2021-05-06", "2030"]),
            "valid_to": st.sampled_from([None, "2025-12-01", "2031"]),
            "subject": st.sampled_from([None, "S"]),
            "relation": st.sampled_from([None, "is"]),
            "rephrases": st.sampled_from([None, ["Q, s。"], ["s?"]]),
            "id": st.sampled_from([None, "i1", "i2"]),
            "supersedes": st.sampled_from([None, "i1", "i2"]),
        }
    ),
)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(chunks=st.lists(st.lists(reports, min_size=1, max_size=6), min_size=1, max_size=4))
def test_no_question_has_two_live_answers(chunks: list[list[dict[str, object]]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder, "l.duckdb")) as ledger:
        for number, chunk in enumerate(chunks):
            take(ledger, chunk, rules=RULES, now=later(minutes=number))
            if number % 2:
                ledger.jobs.plan(max_edits=3, now=later(minutes=number))
        ledger.review.come_due(RULES, now=later(days=365 * 5))
        counts = ledger.counts()
        assert counts.lines == sum(map(len, chunks)) == sum(counts.counts.values())
        assert ledger.audit() == []
        with ledger.store.read() as con:
            clashes = con.execute(
                """SELECT q.key FROM questions q JOIN edits e USING (edit_id)
                JOIN edit_states s USING (edit_id) WHERE s.state = 'ready'
                GROUP BY q.key HAVING count(DISTINCT e.target) > 1"""
            ).fetchall()
        assert clashes == []
