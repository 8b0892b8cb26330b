-- What is told to the tools that reports came from, once an edit serves: the intent before it is sent, and
-- the outcome after. One row for each edit and place; nothing is told twice.
CREATE TABLE write_backs (
    key       VARCHAR PRIMARY KEY,       -- hash of tool, place and edit
    tool      VARCHAR NOT NULL,          -- mlflow, langfuse, webhook
    edit_id   VARCHAR NOT NULL,
    trace     VARCHAR,                   -- the place, as the tool names it
    span      VARCHAR,
    state     VARCHAR NOT NULL,          -- waiting, begun, done, failed (tried again), refused, unknown
    attempts  INTEGER NOT NULL,
    noted_at  TIMESTAMPTZ NOT NULL,
    begun_at  TIMESTAMPTZ,
    ended_at  TIMESTAMPTZ,
    error     VARCHAR
);

-- Until when places were looked for, by tool.
CREATE TABLE write_back_marks (
    tool      VARCHAR PRIMARY KEY,
    looked_at TIMESTAMPTZ NOT NULL
);
