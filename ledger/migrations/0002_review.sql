-- Reviews: an approval stays with the edit, so that it is not held for trust again.
-- (A column is added without a constraint; NULL is "not approved".)
ALTER TABLE edit_states ADD COLUMN approved BOOLEAN;

CREATE VIEW waiting_for_review AS
SELECT s.edit_id, s.hold, s.since, e.prompt, e.target, e.source
FROM edit_states s JOIN edits e USING (edit_id)
WHERE s.state = 'held' ORDER BY s.since, e.seq;
