-- The ledger's first schema. Content is append-only; only state, counters of progress and leases change.

CREATE TYPE edit_state AS ENUM (
    'received', 'held', 'ready', 'planned', 'trained',
    'active', 'rejected', 'superseded', 'revoked', 'expired');
CREATE TYPE line_outcome AS ENUM ('accepted', 'duplicate', 'quarantined');

CREATE SEQUENCE file_ids;
CREATE TABLE files (
    file_id      INTEGER PRIMARY KEY DEFAULT nextval('file_ids'),
    name         VARCHAR NOT NULL,
    content_hash VARCHAR NOT NULL,
    source       VARCHAR,
    preset       VARCHAR,
    lines        BIGINT NOT NULL DEFAULT 0,   -- lines read so far
    byte_offset  BIGINT NOT NULL DEFAULT 0,   -- where the next line begins
    done         BOOLEAN NOT NULL DEFAULT FALSE,
    started_at   TIMESTAMPTZ NOT NULL,
    finished_at  TIMESTAMPTZ
);

-- One row for each input line, whatever became of it.
CREATE TABLE reports (
    file_id     INTEGER NOT NULL,
    line        BIGINT NOT NULL,
    outcome     line_outcome NOT NULL,
    edit_id     VARCHAR,
    source      VARCHAR,
    raw         VARCHAR USING COMPRESSION zstd,
    reason      VARCHAR,
    received_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE edits (
    edit_id     VARCHAR NOT NULL,
    seq         BIGINT NOT NULL,              -- order of arrival
    kind        VARCHAR NOT NULL,
    prompt      VARCHAR USING COMPRESSION zstd NOT NULL,
    target      VARCHAR,
    subject     VARCHAR USING COMPRESSION zstd,
    relation    VARCHAR,
    old_answer  VARCHAR,
    aliases     VARCHAR[],
    rephrases   VARCHAR[],
    locality    STRUCT(prompt VARCHAR, answer VARCHAR)[],
    source      VARCHAR NOT NULL,
    external_id VARCHAR,
    declared    VARCHAR[],                    -- what it says it supersedes
    received_at TIMESTAMPTZ NOT NULL
);

-- What changes about an edit. `state` is changed by ledger/states.py and nothing else.
CREATE TABLE edit_states (
    edit_id    VARCHAR NOT NULL,
    state      edit_state NOT NULL,
    since      TIMESTAMPTZ NOT NULL,
    hold       VARCHAR,
    trust      INTEGER NOT NULL,
    valid_from TIMESTAMPTZ,
    valid_to   TIMESTAMPTZ,
    urgent     BOOLEAN NOT NULL,
    job_id     VARCHAR,
    version    VARCHAR,
    group_id   VARCHAR
);

-- The questions that an edit answers: its prompt, its rephrases, its subject and relation.
CREATE TABLE questions (
    key     UHUGEINT NOT NULL,
    edit_id VARCHAR NOT NULL
);

CREATE TABLE transitions (
    edit_id    VARCHAR NOT NULL,
    from_state edit_state,
    to_state   edit_state NOT NULL,
    happened_at TIMESTAMPTZ NOT NULL,
    actor      VARCHAR NOT NULL,
    reason     VARCHAR NOT NULL,
    version    VARCHAR,
    job_id     VARCHAR
);

CREATE TABLE contests (
    winner     VARCHAR,                       -- NULL while nobody has won
    loser      VARCHAR NOT NULL,
    rule       VARCHAR NOT NULL,
    key        VARCHAR NOT NULL,              -- what they contradict each other about
    decided_at TIMESTAMPTZ NOT NULL,
    settled    BOOLEAN NOT NULL               -- FALSE while the loser is in use or the review is open
);

CREATE TABLE sources (
    source       VARCHAR PRIMARY KEY,
    trust        INTEGER NOT NULL,
    policy       VARCHAR NOT NULL,
    quorum       INTEGER NOT NULL,
    max_per_hour INTEGER,
    blocked      BOOLEAN NOT NULL DEFAULT FALSE,
    first_seen   TIMESTAMPTZ NOT NULL
);

CREATE TABLE jobs (
    job_id      VARCHAR PRIMARY KEY,
    state       VARCHAR NOT NULL,             -- open, leased, done, failed
    priority    DOUBLE NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    worker      VARCHAR,
    attempt     INTEGER NOT NULL DEFAULT 0,
    lease_until TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    version     VARCHAR,
    error       VARCHAR
);
CREATE TABLE job_edits (
    job_id  VARCHAR NOT NULL,
    edit_id VARCHAR NOT NULL,
    role    VARCHAR NOT NULL                  -- edit or remove
);

-- Edits in use that are to be taken out with the next version.
CREATE TABLE retirements (
    edit_id      VARCHAR NOT NULL,
    to_state     edit_state NOT NULL,
    requested_at TIMESTAMPTZ NOT NULL,
    actor        VARCHAR NOT NULL,
    reason       VARCHAR NOT NULL,
    job_id       VARCHAR,
    done         BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE TABLE versions (
    version_id       VARCHAR PRIMARY KEY,
    parent           VARCHAR,
    job_id           VARCHAR,
    hash             VARCHAR NOT NULL,
    created_at       TIMESTAMPTZ NOT NULL,
    edits_added      VARCHAR[],
    edits_removed    VARCHAR[],
    registry_version VARCHAR,
    info             JSON
);
CREATE TABLE verdicts (
    version_id VARCHAR NOT NULL,
    happened_at TIMESTAMPTZ NOT NULL,
    passed     BOOLEAN NOT NULL,
    reason     VARCHAR NOT NULL
);
CREATE TABLE suite_verdicts (
    version_id VARCHAR NOT NULL,
    happened_at TIMESTAMPTZ NOT NULL,
    suite      VARCHAR NOT NULL,
    metric     VARCHAR NOT NULL,
    value      DOUBLE,
    threshold  DOUBLE,
    passed     BOOLEAN NOT NULL,
    probes     BIGINT NOT NULL,
    failed     BIGINT NOT NULL
);
CREATE TABLE probe_results (
    version_id    VARCHAR NOT NULL,
    happened_at TIMESTAMPTZ NOT NULL,
    suite         VARCHAR NOT NULL,
    probe_id      VARCHAR NOT NULL,
    prompt        VARCHAR NOT NULL,
    expected      VARCHAR,
    answer_before VARCHAR,
    answer_after  VARCHAR,
    passed        BOOLEAN NOT NULL,
    edit_id       VARCHAR,
    cached        BOOLEAN NOT NULL,
    distance      DOUBLE
);
CREATE TABLE champions (
    seq      BIGINT NOT NULL,
    version  VARCHAR NOT NULL,
    happened_at TIMESTAMPTZ NOT NULL,
    actor    VARCHAR NOT NULL,
    reason   VARCHAR NOT NULL,
    previous VARCHAR
);
CREATE TABLE events (
    happened_at TIMESTAMPTZ NOT NULL,
    kind     VARCHAR NOT NULL,
    severity VARCHAR NOT NULL,
    message  VARCHAR NOT NULL,
    version  VARCHAR,
    edit_id  VARCHAR
);

-- The questions people ask.
CREATE VIEW queue AS
SELECT s.state, count(*) AS edits, min(s.since) AS oldest, count(*) FILTER (WHERE s.urgent) AS urgent
FROM edit_states s WHERE s.state IN ('received', 'held', 'ready', 'planned', 'trained')
GROUP BY s.state;

CREATE VIEW latency AS
SELECT e.edit_id, e.source, e.received_at,
       min(t.happened_at) FILTER (WHERE t.to_state = 'ready')   AS ready_at,
       min(t.happened_at) FILTER (WHERE t.to_state = 'planned') AS planned_at,
       min(t.happened_at) FILTER (WHERE t.to_state = 'trained') AS trained_at,
       min(t.happened_at) FILTER (WHERE t.to_state = 'active')  AS active_at,
       epoch(min(t.happened_at) FILTER (WHERE t.to_state = 'active')) - epoch(e.received_at) AS seconds
FROM edits e JOIN transitions t USING (edit_id)
GROUP BY e.edit_id, e.source, e.received_at;

CREATE VIEW acceptance AS
SELECT coalesce(r.source, '') AS source, count(*) AS reports,
       count(*) FILTER (WHERE r.outcome = 'accepted') AS accepted,
       count(*) FILTER (WHERE r.outcome = 'duplicate') AS duplicates,
       count(*) FILTER (WHERE r.outcome = 'quarantined') AS quarantined,
       count(*) FILTER (WHERE r.outcome = 'accepted' AND s.state = 'active') AS active,
       count(*) FILTER (WHERE r.outcome = 'accepted' AND s.state = 'rejected') AS rejected
FROM reports r LEFT JOIN edit_states s ON s.edit_id = r.edit_id
GROUP BY 1;
