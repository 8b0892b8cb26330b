-- Who speaks for the edits that a chunk of lines brings before their judge: the sources of new ones, and
-- those heard for the ones that are judged anew.
-- parameters: $anew
CREATE OR REPLACE TEMP TABLE voices AS
SELECT edit_id, source FROM staged
WHERE edit_id IN (SELECT edit_id FROM staged WHERE outcome = 'accepted')
UNION ALL
SELECT edit_id, unnest(voices) FROM again WHERE edit_id IN (SELECT unnest($anew::VARCHAR[]))
