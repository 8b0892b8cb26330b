-- The state that the edit of an accepted line begins with.
-- parameters: $at
INSERT INTO edit_states
SELECT j.edit_id, 'received', $at, NULL, s.trust, j.valid_from, j.valid_to, j.urgent,
       NULL, NULL, NULL, NULL, NULL
FROM staged j JOIN sources s USING (source) WHERE j.outcome = 'accepted'
