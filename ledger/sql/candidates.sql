-- Edits that ask to be let in, with the evidence for each (`trust.Evidence`). Who speaks for them is in
-- `voices` (edit_id, source).
-- parameters: $at
CREATE OR REPLACE TEMP TABLE candidates AS
WITH counted AS (
    SELECT v.edit_id, coalesce(bool_or(NOT s.blocked), false) AS unblocked,
           count(DISTINCT v.source) FILTER (WHERE NOT s.blocked AND s.policy <> 'review') AS sources,
           coalesce(bool_or(s.policy = 'auto') FILTER (WHERE NOT s.blocked), false) AS automatic,
           min(s.quorum) FILTER (WHERE NOT s.blocked AND s.policy = 'quorum') AS quorum
    FROM voices v LEFT JOIN sources s USING (source) GROUP BY v.edit_id),
passed AS (
    SELECT e.source, count(DISTINCT t.edit_id) AS passed
    FROM sources s JOIN edits e USING (source) JOIN transitions t USING (edit_id)
    WHERE s.max_per_hour IS NOT NULL AND t.to_state = 'ready'
      AND t.happened_at > $at::TIMESTAMPTZ - INTERVAL 1 HOUR
    GROUP BY e.source),
hourly AS (
    SELECT e.edit_id, coalesce(p.passed, 0)
           + row_number() OVER (PARTITION BY e.source ORDER BY e.seq) > s.max_per_hour AS over_share
    FROM edits e JOIN sources s USING (source) LEFT JOIN passed p USING (source)
    WHERE s.max_per_hour IS NOT NULL AND e.edit_id IN (SELECT edit_id FROM counted))
SELECT edit_id, e.target IS NOT NULL AS answered, coalesce(s.valid_to <= $at, false) AS over,
       coalesce(s.valid_from > $at, false) AS early, coalesce(s.approved, false) AS approved,
       c.unblocked, coalesce(h.over_share, false) AS over_share, c.automatic,
       c.quorum IS NOT NULL AS by_quorum, coalesce(c.sources >= c.quorum, false) AS agreed
FROM counted c JOIN edits e USING (edit_id) JOIN edit_states s USING (edit_id)
LEFT JOIN hourly h USING (edit_id)
