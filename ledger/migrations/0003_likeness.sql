-- Near-duplicates: by which key space and threshold an edit's question was compared with the others
-- last. NULL is never; another name than today's is compared again.
ALTER TABLE edit_states ADD COLUMN compared VARCHAR;
