-- Tries that ended for a reason that may lie in the job or in the machine (its worker died, no memory
-- was left) weigh a third of a failure. (A column is added without a constraint; NULL is none.)
ALTER TABLE jobs ADD COLUMN doubtful INTEGER;
