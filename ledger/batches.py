"""Which ready edits go into which job: the most pressing first, what belongs together together."""

from __future__ import annotations

# Ready edits with what makes them pressing. An edit waits while one that it beats is in a job.
READY = """
SELECT s.edit_id, s.urgent,
       (SELECT count(*) FROM reports r WHERE r.edit_id = s.edit_id) AS reported,
       epoch(?::TIMESTAMPTZ) - epoch(e.received_at) AS waiting,
       s.group_id, lower(e.subject), e.seq
FROM edit_states s JOIN edits e USING (edit_id)
WHERE s.state = 'ready' AND s.edit_id NOT IN (
    SELECT c.winner FROM contests c JOIN edit_states l ON l.edit_id = c.loser
    WHERE NOT c.settled AND c.winner IS NOT NULL AND l.state IN ('planned', 'trained'))
"""

# edit, urgent, times reported, seconds waiting, group of near-duplicates, subject, order of arrival
Ready = tuple[str, bool, int, float, str | None, str | None, int]
Scored = tuple[float, int, str]  # how pressing, order of arrival, edit


def batches(rows: list[Ready], max_edits: int) -> list[tuple[list[str], float]]:
    """Cut ready edits into batches of at most `max_edits`, families kept together if they fit.

    Returns each batch with the score of its most pressing edit, the most pressing batch first.
    """
    cut: list[list[Scored]] = []
    for family in _families(rows):
        if not cut or len(cut[-1]) + min(len(family), max_edits) > max_edits:
            cut.append([])
        for edit in family:
            if len(cut[-1]) == max_edits:
                cut.append([])
            cut[-1].append(edit)
    return [([edit for *_, edit in batch], max(score for score, *_ in batch)) for batch in cut]


def _families(rows: list[Ready]) -> list[list[Scored]]:
    """Edits that share a group of near-duplicates or a subject, at once or through others."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for edit_id, _, _, _, group, subject, _ in rows:
        for tie in (f"group {group}" if group else "", f"subject {subject}" if subject else ""):
            if tie:
                parent[root(tie)] = root(edit_id)
    families: dict[str, list[Scored]] = {}
    for edit_id, urgent, reported, waiting, _, _, seq in rows:
        score = (1e6 if urgent else 0.0) + 24.0 * (reported - 1) + max(waiting, 0.0) / 3600
        families.setdefault(root(edit_id), []).append((score, seq, edit_id))
    for family in families.values():
        family.sort(key=lambda item: (-item[0], item[1]))
    return sorted(
        families.values(),
        key=lambda family: (-family[0][0], min(item[1] for item in family)),
    )
