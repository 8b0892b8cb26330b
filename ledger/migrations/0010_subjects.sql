-- What an edit is about where its report does not say it: as the engine inferred it, or as a person said it
-- since, which counts more than the report. The last row of an edit counts.
CREATE TABLE subjects (
    edit_id VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,
    origin  VARCHAR NOT NULL,  -- 'inferred' or 'given'
    actor   VARCHAR NOT NULL,
    said_at TIMESTAMPTZ NOT NULL
);
