-- Both sides of each rivalry, as `rules.Contender` takes them. Beside a source that lets an edit in by
-- itself no other counts.
-- parameters: $no_date
WITH reported AS (
    SELECT edit_id, coalesce(
        list(DISTINCT source) FILTER (WHERE policy = 'auto' AND NOT blocked),
        list(DISTINCT source) FILTER (WHERE policy = 'quorum' AND NOT blocked),
        list(DISTINCT source)) AS sources
    FROM reports JOIN sources USING (source)
    WHERE edit_id IN (SELECT edit_id FROM rivalries) GROUP BY edit_id)
SELECT e.edit_id, e.target, s.state::VARCHAR, a.edit_id IS NOT NULL, e.seq,
       coalesce(epoch_us(s.valid_from), $no_date), s.trust, t.sources, e.external_id, e.declared,
       e.prompt, coalesce(a.approved, false)
FROM edits e JOIN edit_states s USING (edit_id) JOIN reported t USING (edit_id)
LEFT JOIN admissions a ON a.edit_id = e.edit_id AND a.to_state = 'ready'
WHERE e.edit_id IN (SELECT edit_id FROM rivalries)
