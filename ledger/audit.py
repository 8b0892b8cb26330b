"""What must always hold, checked against the whole file.

Used by the kill test and by anyone who doubts a ledger: `Ledger.audit()` names what is wrong.
"""

from __future__ import annotations

from ledger import states
from ledger.store import Connection

CHECKS: dict[str, str] = {
    "a line is recorded more than once": """
        SELECT file_id || ':' || line FROM reports GROUP BY file_id, line HAVING count(*) > 1""",
    "a file's count of lines is not that of its rows": """
        SELECT f.file_id || ' ' || f.name FROM files f LEFT JOIN (
            SELECT file_id, count(*) AS n, max(line) AS highest FROM reports GROUP BY file_id) r
        USING (file_id)
        WHERE f.lines <> coalesce(r.n, 0) OR f.lines <> coalesce(r.highest, 0)""",
    "an edit has not exactly one accepted line": """
        SELECT coalesce(e.edit_id, r.edit_id) FROM edits e FULL JOIN (
            SELECT edit_id, count(*) AS n FROM reports WHERE outcome = 'accepted' GROUP BY edit_id
        ) r ON r.edit_id = e.edit_id
        WHERE e.edit_id IS NULL OR r.n IS DISTINCT FROM 1""",
    "an edit is there twice or has not exactly one state": """
        SELECT edit_id FROM edits GROUP BY edit_id HAVING count(*) > 1
        UNION ALL
        SELECT e.edit_id FROM edits e FULL JOIN (
            SELECT edit_id, count(*) AS n FROM edit_states GROUP BY edit_id) s USING (edit_id)
        WHERE s.n IS DISTINCT FROM 1""",
    "a duplicate line names no edit": """
        SELECT file_id || ':' || line FROM reports WHERE outcome = 'duplicate'
        AND edit_id NOT IN (SELECT edit_id FROM edits)""",
    "an edit's state is not that of its last transition": """
        SELECT s.edit_id FROM edit_states s LEFT JOIN (
            SELECT edit_id, arg_max(to_state, rowid) AS last FROM transitions GROUP BY edit_id
        ) t USING (edit_id) WHERE t.last IS DISTINCT FROM s.state""",
    "a transition does not begin where the one before it ended": """
        SELECT edit_id FROM (
            SELECT edit_id, from_state,
                   lag(to_state) OVER (PARTITION BY edit_id ORDER BY rowid) AS before
            FROM transitions) WHERE from_state IS DISTINCT FROM before""",
    "a transition is none of the state machine's": """
        SELECT edit_id || ': ' || from_state || ' to ' || to_state FROM transitions
        WHERE from_state IS NOT NULL AND from_state || '>' || to_state NOT IN (
            SELECT unnest($allowed::VARCHAR[]))""",
    "two edits are active that contradict each other, and neither is to be taken out": """
        SELECT c.winner || ' and ' || c.loser FROM contests c
        JOIN edit_states w ON w.edit_id = c.winner JOIN edit_states l ON l.edit_id = c.loser
        WHERE w.state = 'active' AND l.state = 'active' AND NOT EXISTS (
            SELECT 1 FROM retirements r
            WHERE NOT r.done AND r.edit_id IN (c.winner, c.loser)) AND NOT EXISTS (
            SELECT 1 FROM decisions d WHERE d.action = 'both' AND d.undone_at IS NULL
            AND d.edit_id IN (c.winner, c.loser) AND d.value IN (c.winner, c.loser))""",
    "an edit is planned in no job, or in two": """
        SELECT s.edit_id FROM edit_states s LEFT JOIN (
            SELECT m.edit_id, count(*) AS n FROM job_edits m JOIN jobs j USING (job_id)
            WHERE m.role = 'edit' AND j.state IN ('open', 'leased') GROUP BY m.edit_id
        ) j USING (edit_id) WHERE s.state = 'planned' AND j.n IS DISTINCT FROM 1""",
}


def audit(con: Connection) -> list[str]:
    """Every check that fails, with how often and an example; empty where all is well."""
    allowed = [f"{a}>{b}" for a, ends in states.ALLOWED.items() for b in ends]
    problems = []
    for name, sql in CHECKS.items():
        values = {"allowed": allowed} if "$allowed" in sql else None
        violations = con.execute(sql, values).fetchall()
        if violations:
            problems.append(f"{name}: {len(violations)} times, as {violations[0][0]}")
    return problems
