-- What people decided in a review: who, what, why, and what an undo needs.
CREATE TABLE decisions (
    decision_id VARCHAR NOT NULL,
    edit_id     VARCHAR NOT NULL,
    action      VARCHAR NOT NULL,      -- approve, reject, answer, subject, wording, urgent, not-urgent
    value       VARCHAR,               -- the answer, subject or wording
    actor       VARCHAR NOT NULL,
    reason      VARCHAR NOT NULL,
    decided_at  TIMESTAMPTZ NOT NULL,
    made        VARCHAR,               -- the edit that an answer became
    prior       VARCHAR,               -- how the edits stood before, as JSON; NULL where nothing undoes it
    undone_at   TIMESTAMPTZ,
    undone_by   VARCHAR
);
