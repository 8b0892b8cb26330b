-- The questions that have several answers, with the edits that give them, where an edit that is admitted
-- (`admissions`, to ready) is among these; and pairs of which one says that it supersedes the other.
CREATE OR REPLACE TEMP TABLE rivalries AS
WITH admitted AS (SELECT edit_id FROM admissions WHERE to_state = 'ready'),
claimed AS (SELECT DISTINCT key FROM questions WHERE edit_id IN (FROM admitted)),
claims AS (SELECT q.key, q.edit_id FROM questions q WHERE q.key IN (FROM claimed)),
shared AS (SELECT * FROM claims WHERE key IN (
    SELECT key FROM claims GROUP BY key HAVING count(*) > 1)),
standing AS (
    SELECT c.key, c.edit_id, e.target FROM shared c
    JOIN edit_states s USING (edit_id) JOIN edits e USING (edit_id)
    WHERE s.state IN ('ready', 'planned', 'trained', 'active')
       OR (s.state = 'held' AND s.hold = 'contradiction')
       OR c.edit_id IN (FROM admitted)),
declaring AS (
    SELECT e.edit_id, unnest(e.declared) AS name FROM edits e
    WHERE len(e.declared) > 0 AND e.edit_id IN (FROM admitted)),
named AS (
    SELECT md5_number(chr(28) || d.edit_id || e.edit_id) AS key, d.edit_id AS winner,
           e.edit_id AS loser
    FROM declaring d JOIN edits e ON e.edit_id = d.name OR e.external_id = d.name
    JOIN edit_states s ON s.edit_id = e.edit_id
    WHERE e.edit_id <> d.edit_id
      AND (s.state IN ('ready', 'planned', 'trained', 'active')
           OR (s.state = 'held' AND s.hold = 'contradiction')
           OR e.edit_id IN (FROM admitted)))
SELECT key, edit_id FROM standing WHERE key IN (
    SELECT key FROM standing GROUP BY key HAVING count(DISTINCT target) > 1)
UNION ALL SELECT key, winner FROM named
UNION ALL SELECT key, loser FROM named
