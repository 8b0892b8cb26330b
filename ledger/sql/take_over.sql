-- Edits learn from being reported again: later dates, urgency, more trust.
UPDATE edit_states AS e SET
    valid_from = greatest(e.valid_from, a.valid_from),
    valid_to = CASE WHEN a.valid_to > e.valid_to THEN a.valid_to ELSE e.valid_to END,
    urgent = e.urgent OR a.urgent, trust = greatest(e.trust, a.trust)
FROM again a WHERE a.edit_id = e.edit_id AND (
    a.valid_from > coalesce(e.valid_from, '-infinity') OR a.valid_to > e.valid_to
    OR (a.urgent AND NOT e.urgent) OR a.trust > e.trust)
