-- A prompt may be a conversation: `prompt` is what is asked, the last user message; `messages` the whole, as
-- JSON, NULL for a plain text.
ALTER TABLE edits ADD COLUMN messages VARCHAR;
