-- Questions not compared in a key space yet: all that are in a job or in a version, and the most pressing
-- of those that are ready.
-- parameters: $space, $limit, $now
WITH fresh AS (
    SELECT e.edit_id, e.prompt, e.subject, e.aliases, e.seq, e.received_at, s.state, s.urgent
    FROM edit_states s JOIN edits e USING (edit_id)
    WHERE s.compared IS DISTINCT FROM $space
      AND s.state IN ('ready', 'planned', 'trained', 'active')),
reported AS (
    SELECT edit_id, count(*) AS times FROM reports
    WHERE edit_id IN (SELECT edit_id FROM fresh) GROUP BY edit_id),
pressing AS (
    SELECT f.*, row_number() OVER (PARTITION BY f.state = 'ready' ORDER BY f.urgent DESC,
        24 * r.times + (epoch($now::TIMESTAMPTZ) - epoch(f.received_at)) / 3600 DESC, f.seq) AS place
    FROM fresh f JOIN reported r USING (edit_id))
SELECT edit_id, prompt, subject, aliases, NULL FROM pressing
WHERE state <> 'ready' OR place <= $limit ORDER BY seq
