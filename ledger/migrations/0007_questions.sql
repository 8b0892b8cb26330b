-- One rule says which questions are the same, in every script (text/question.py). Keys made by the rule
-- before it (ASCII's white space and closing punctuation) are made anew.

-- Edits whose hash of question and answer is another by today's rule keep their id: a line that says the
-- same finds them here. Of several that are the same today the one furthest on stands for all.
CREATE TABLE identities (
    identity VARCHAR NOT NULL,
    edit_id  VARCHAR NOT NULL
);

-- Edits that got other keys: contradictions between them are settled when jobs are next planned.
CREATE TABLE rekeyed (
    edit_id VARCHAR NOT NULL
);

CREATE TEMP TABLE moved_keys AS
WITH asked AS (
    SELECT edit_id, prompt AS said FROM edits
    UNION ALL SELECT edit_id, unnest(rephrases) FROM edits),
keys AS (
    SELECT edit_id,
           rtrim(lower(regexp_replace(said, '\s+', ' ', 'g')), ' ?.!:') AS old,
           normalize_question(said) AS new
    FROM asked
    UNION ALL
    SELECT edit_id, chr(29) || lower(subject) || chr(31) || lower(relation),
           chr(29) || normalize_question(subject) || chr(31) || normalize_question(relation)
    FROM edits
    UNION ALL
    SELECT edit_id, chr(30) || lower(subject), chr(30) || normalize_question(subject) FROM edits
    UNION ALL
    SELECT s.edit_id, chr(27) || s.group_id || chr(31) || lower(e.subject),
           chr(27) || s.group_id || chr(31) || normalize_question(e.subject)
    FROM edit_states s JOIN edit_states o USING (group_id) JOIN edits e ON e.edit_id = o.edit_id)
SELECT DISTINCT edit_id, md5_number(old) AS old, md5_number(new) AS new
FROM keys WHERE old IS NOT NULL AND new IS NOT NULL AND old <> new;

INSERT INTO rekeyed
SELECT DISTINCT m.edit_id FROM moved_keys m
JOIN questions q ON q.edit_id = m.edit_id AND q.key = m.old;

CREATE TEMP TABLE rewritten AS
SELECT DISTINCT coalesce(m.new, q.key) AS key, q.edit_id
FROM questions q LEFT JOIN moved_keys m ON m.edit_id = q.edit_id AND m.old = q.key
WHERE q.edit_id IN (FROM rekeyed);

DELETE FROM questions WHERE edit_id IN (FROM rekeyed);
INSERT INTO questions SELECT key, edit_id FROM rewritten;

INSERT INTO identities
WITH today AS (
    SELECT e.edit_id, e.seq, s.state,
           left(sha256(normalize_question(e.prompt) || chr(31) || coalesce(
               regexp_replace(e.target, '^[\s\p{Z}]+|[\s\p{Z}]+$', '', 'g'), chr(30))), 32) AS identity
    FROM edits e JOIN edit_states s USING (edit_id))
SELECT identity, arg_min(edit_id, (CASE state
           WHEN 'active' THEN 0 WHEN 'trained' THEN 1 WHEN 'planned' THEN 2 WHEN 'ready' THEN 3
           WHEN 'held' THEN 4 ELSE 5 END) * 1000000000000000000 + seq)
FROM today WHERE identity NOT IN (SELECT edit_id FROM edits)
GROUP BY identity;

DROP TABLE rewritten;
DROP TABLE moved_keys;
