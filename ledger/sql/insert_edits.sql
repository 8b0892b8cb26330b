-- One edit for each accepted line. Its place in the order of arrival is that of its file, then its line.
-- parameters: $file, $at
INSERT INTO edits
SELECT edit_id, $file::BIGINT * 4294967296 + line, kind, prompt, target, subject, relation, old_answer,
       coalesce(aliases, []), coalesce(rephrases, []), coalesce(locality, []), source, id,
       coalesce(supersedes, []), $at, messages
FROM staged WHERE outcome = 'accepted'
