-- Who lost to whom, by the last word on the two, and stands beside the winner all the same. Where the
-- winner is to be taken out, the loser stays.
WITH leaving AS (SELECT edit_id FROM retirements WHERE NOT done),
decided AS (
    SELECT c.winner, c.loser, c.rule, c.settled, w.state AS above, l.state AS below
    FROM contests c JOIN edit_states w ON w.edit_id = c.winner
    JOIN edit_states l ON l.edit_id = c.loser
    WHERE w.state IN ('ready', 'planned', 'trained', 'active')
      AND l.state IN ('ready', 'planned', 'trained', 'active')
      AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.action = 'both' AND d.undone_at IS NULL
                      AND d.edit_id IN (c.winner, c.loser) AND d.value IN (c.winner, c.loser))
    QUALIFY row_number() OVER (PARTITION BY least(c.winner, c.loser), greatest(c.winner, c.loser)
                               ORDER BY c.rowid DESC) = 1)
SELECT loser, below::VARCHAR, winner, rule FROM decided
WHERE (below = 'ready' AND NOT settled)
   OR (below = 'active' AND above = 'active' AND winner NOT IN (FROM leaving)
       AND loser NOT IN (FROM leaving))
