-- Edits in order of arrival, as `Edit` takes them; a parameter that is NULL leaves nothing out.
-- parameters: $state, $ids, $source, $limit
SELECT e.edit_id, e.kind, e.prompt, e.target, s.state::VARCHAR,
       CASE WHEN o.origin = 'given' THEN o.subject ELSE coalesce(e.subject, o.subject) END, e.relation,
       e.old_answer, e.aliases,
       e.rephrases || coalesce((SELECT list(w.wording ORDER BY w.added_at, w.rowid) FROM wordings w
                                WHERE w.edit_id = e.edit_id), []),
       e.locality, e.source, e.external_id, s.valid_from,
       s.valid_to, s.urgent, s.hold, s.since, e.received_at, n.reported, n.sources, s.job_id,
       s.version, s.group_id, e.messages,
       (SELECT list(DISTINCT c.loser ORDER BY c.loser) FROM contests c
        JOIN edit_states l ON l.edit_id = c.loser
        WHERE c.winner = e.edit_id AND NOT c.settled AND l.state = 'active'),
       CASE WHEN e.subject IS NULL AND o.origin = 'inferred' THEN 'inferred' ELSE 'given' END
FROM edits e JOIN edit_states s USING (edit_id)
LEFT JOIN (SELECT edit_id, max_by(subject, said_at) AS subject,
                  max_by(origin, said_at) AS origin
           FROM subjects GROUP BY edit_id) o USING (edit_id)
JOIN (SELECT edit_id, count(*) AS reported, count(DISTINCT source) AS sources FROM reports
      WHERE edit_id IS NOT NULL AND ($ids IS NULL OR edit_id IN (SELECT unnest($ids::VARCHAR[])))
      GROUP BY edit_id) n USING (edit_id)
WHERE ($state IS NULL OR s.state = $state::edit_state)
  AND ($ids IS NULL OR e.edit_id IN (SELECT unnest($ids::VARCHAR[])))
  AND ($source IS NULL OR e.source = $source)
ORDER BY e.seq LIMIT $limit
