-- Known edits that the staged lines report again: where each stands, what is said of it now, what of that
-- is taken over, and who speaks for it. Blocked sources are left out. A source whose policy is a quorum
-- speaks together with those of its kind that said so before.
CREATE OR REPLACE TEMP TABLE again AS
WITH repeated AS MATERIALIZED (
    SELECT j.edit_id, j.source, max(j.valid_from) AS valid_from, max(j.valid_to) AS valid_to,
           bool_or(j.urgent) AS urgent, any_value(s.trust) AS trust,
           any_value(s.policy) AS policy, any_value(s.quorum) AS quorum
    FROM staged j JOIN sources s USING (source)
    WHERE j.problem IS NULL AND NOT s.blocked AND j.edit_id NOT IN (
        SELECT edit_id FROM staged WHERE outcome = 'accepted')
    GROUP BY j.edit_id, j.source),
standing AS MATERIALIZED (
    SELECT s.edit_id, any_value(CASE WHEN e.state = 'held' THEN e.hold
                                     ELSE e.state::VARCHAR END) AS stands,
           any_value(e.valid_from) AS known_from, max(s.valid_from) AS claimed_from,
           max(s.valid_from) FILTER (WHERE s.policy = 'auto' AND s.trust >= e.trust) AS auto_from,
           max(s.valid_to) FILTER (WHERE s.policy = 'auto' AND s.trust >= e.trust) AS auto_to,
           max(s.valid_from) FILTER (WHERE s.policy = 'quorum' AND s.trust >= e.trust) AS agreed_from,
           max(s.valid_to) FILTER (WHERE s.policy = 'quorum' AND s.trust >= e.trust) AS agreed_to,
           bool_or(s.urgent) AS urgent, max(s.trust) FILTER (WHERE s.policy = 'auto') AS trust
    FROM repeated s JOIN edit_states e USING (edit_id) GROUP BY s.edit_id),
waiting AS MATERIALIZED (
    SELECT edit_id FROM standing WHERE stands IN (
        'quorum', 'contradiction', 'review', 'blocked', 'superseded', 'expired')),
earlier AS MATERIALIZED (
    SELECT DISTINCT edit_id, source FROM reports WHERE edit_id IN (SELECT edit_id FROM waiting)),
voices AS (
    SELECT edit_id, source, policy, quorum,
           NOT EXISTS (SELECT 1 FROM earlier t
                       WHERE t.edit_id = s.edit_id AND t.source = s.source) AS new
    FROM repeated s WHERE edit_id IN (SELECT edit_id FROM waiting)
    UNION ALL
    SELECT t.edit_id, t.source, q.policy, q.quorum, false
    FROM earlier t JOIN sources q USING (source)
    WHERE q.policy = 'quorum' AND NOT q.blocked
      AND t.edit_id IN (SELECT edit_id FROM repeated WHERE policy = 'quorum')),
support AS (
    SELECT edit_id, list(DISTINCT source) AS voices, bool_or(new) AS new,
           bool_or(new AND policy <> 'review') AS weighty, bool_or(policy = 'auto') AS automatic,
           coalesce(count(DISTINCT source) FILTER (WHERE policy = 'quorum')
                    >= min(quorum) FILTER (WHERE policy = 'quorum'), false) AS agreed
    FROM voices GROUP BY edit_id),
taken AS (
    SELECT *, CASE WHEN agreed THEN greatest(auto_from, agreed_from) ELSE auto_from END AS valid_from,
           CASE WHEN agreed THEN greatest(auto_to, agreed_to) ELSE auto_to END AS valid_to
    FROM standing LEFT JOIN support USING (edit_id))
SELECT edit_id, stands, coalesce(valid_from > coalesce(known_from, '-infinity'), false) AS later,
       coalesce(claimed_from > coalesce(known_from, '-infinity'), false) AS claimed_later,
       coalesce(new, false) AS new, coalesce(weighty, false) AS weighty,
       coalesce(automatic, false) AS automatic, coalesce(agreed, false) AS agreed,
       valid_from, valid_to, urgent, trust, voices
FROM taken
