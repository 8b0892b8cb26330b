-- Say for each staged line what becomes of it: of equal lines the first is accepted, where its edit is new.
UPDATE staged SET outcome = CASE
    WHEN problem IS NOT NULL THEN 'quarantined'
    WHEN line IN (
        WITH on_record AS MATERIALIZED (
            SELECT edit_id FROM edits WHERE edit_id IN (SELECT edit_id FROM staged))
        SELECT min(s.line) FROM staged s ANTI JOIN on_record USING (edit_id)
        WHERE s.problem IS NULL GROUP BY s.edit_id) THEN 'accepted'
    ELSE 'duplicate' END
