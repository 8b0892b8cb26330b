-- Within a group of near-duplicates: one question for each subject. Who names none claims those that its
-- prompt names.
-- parameters: $groups
INSERT INTO questions
WITH grouped AS (
    SELECT edit_id, group_id FROM edit_states
    WHERE group_id IN (SELECT unnest($groups::VARCHAR[]))
      AND state IN ('ready', 'planned', 'trained', 'active')),
about AS (
    SELECT DISTINCT g.group_id, normalize_question(e.subject) AS subject
    FROM grouped g JOIN edits e USING (edit_id) WHERE e.subject IS NOT NULL),
claims AS (
    SELECT md5_number(chr(27) || a.group_id || chr(31) || a.subject) AS key, g.edit_id
    FROM grouped g JOIN edits e USING (edit_id) JOIN about a USING (group_id)
    WHERE normalize_question(e.subject) = a.subject OR (e.subject IS NULL AND CASE
        WHEN regexp_matches(a.subject, '[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}'
                                       || '\p{Lao}\p{Khmer}\p{Myanmar}]|^[^\p{L}\p{N}]+$')
        THEN contains(normalize_question(e.prompt), a.subject)
        ELSE contains(
            ' ' || regexp_replace(normalize_question(e.prompt), '[^\p{L}\p{M}\p{N}]+', ' ', 'g')
            || ' ',
            ' ' || trim(regexp_replace(a.subject, '[^\p{L}\p{M}\p{N}]+', ' ', 'g')) || ' ')
        END))
SELECT DISTINCT key, edit_id FROM claims c WHERE NOT EXISTS (
    SELECT 1 FROM questions q WHERE q.edit_id = c.edit_id AND q.key = c.key)
