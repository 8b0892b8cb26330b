-- How many staged lines have which outcome, as `ChunkResult` takes them, and the first problem.
-- parameters: $nothing
SELECT count(*), count(*) FILTER (WHERE outcome = 'accepted'),
       count(*) FILTER (WHERE outcome = 'duplicate'),
       count(*) FILTER (WHERE outcome = 'quarantined'),
       min_by('line ' || line || ': ' || problem, line)
           FILTER (WHERE outcome = 'quarantined' AND NOT starts_with(problem, $nothing)),
       count(*) FILTER (WHERE outcome = 'quarantined' AND starts_with(problem, $nothing)),
       count(*) FILTER (WHERE problem IS NULL AND target IS NULL)
FROM staged
