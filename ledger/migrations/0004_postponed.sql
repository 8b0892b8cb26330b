-- Tries that ended for a reason that has nothing to do with the job (a full disk, a server away)
-- do not count against it. (A column is added without a constraint; NULL is none.)
ALTER TABLE jobs ADD COLUMN postponed INTEGER;
