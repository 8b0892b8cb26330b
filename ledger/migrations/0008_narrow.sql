-- Edits in a version that are right on their own question but not found in all wordings of it.
CREATE TABLE narrow (
    edit_id  VARCHAR NOT NULL,
    wordings VARCHAR[] NOT NULL,
    version  VARCHAR NOT NULL,
    noted_at TIMESTAMPTZ NOT NULL
);

-- Wordings of an edit's question that were added after it was trained.
CREATE TABLE wordings (
    edit_id  VARCHAR NOT NULL,
    wording  VARCHAR NOT NULL,
    actor    VARCHAR NOT NULL,
    version  VARCHAR NOT NULL,
    added_at TIMESTAMPTZ NOT NULL
);
