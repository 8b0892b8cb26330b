-- One row for each staged line, whatever becomes of it.
-- parameters: $file, $at
INSERT INTO reports
SELECT $file, line, outcome::line_outcome, CASE WHEN problem IS NULL THEN edit_id END, source, raw,
       problem, $at
FROM staged
