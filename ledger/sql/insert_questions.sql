-- The questions that a new edit claims: its prompt, its rephrases, its subject and relation, and where
-- settings say that a subject has one relation the subject alone.
-- parameters: $subject_alone
INSERT INTO questions
WITH accepted AS (SELECT * FROM staged WHERE outcome = 'accepted'),
reworded AS MATERIALIZED (
    SELECT edit_id, question, normalize_question(unnest(rephrases)) AS q FROM accepted
    WHERE len(rephrases) > 0)
SELECT md5_number(question), edit_id FROM accepted
UNION ALL
SELECT md5_number(q), edit_id FROM reworded WHERE q <> question
UNION ALL
SELECT md5_number(chr(29) || normalize_question(subject) || chr(31)
                  || normalize_question(relation)), edit_id
FROM accepted WHERE subject IS NOT NULL AND relation IS NOT NULL
UNION ALL
SELECT md5_number(chr(30) || normalize_question(subject)), edit_id
FROM accepted WHERE subject IS NOT NULL AND $subject_alone
