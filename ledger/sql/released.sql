-- Held edits whose day has come, and those over their source's share, as many as it has room for.
-- parameters: $at
SELECT edit_id FROM edit_states WHERE state = 'held' AND hold = 'later' AND valid_from <= $at
UNION ALL
SELECT edit_id FROM (
    SELECT e.edit_id, q.max_per_hour,
           row_number() OVER (PARTITION BY e.source ORDER BY e.seq) + coalesce(n.passed, 0) AS place
    FROM edit_states s JOIN edits e USING (edit_id) JOIN sources q USING (source)
    LEFT JOIN (
        SELECT o.source, count(DISTINCT t.edit_id) AS passed
        FROM transitions t JOIN edits o USING (edit_id)
        WHERE t.to_state = 'ready' AND t.happened_at > $at::TIMESTAMPTZ - INTERVAL 1 HOUR
        GROUP BY o.source) n ON n.source = e.source
    WHERE s.state = 'held' AND s.hold = 'rate')
WHERE max_per_hour IS NULL OR place <= max_per_hour
