-- What each stage of a job took: wall seconds, the process's peak memory, the GPU's where one was used.
CREATE TABLE stage_costs (
    job_id       VARCHAR,
    version_id   VARCHAR,
    stage        VARCHAR NOT NULL,            -- train, gate, register, promote
    happened_at  TIMESTAMPTZ NOT NULL,
    seconds      DOUBLE NOT NULL,
    memory_bytes BIGINT,
    gpu_bytes    BIGINT,
    device       VARCHAR,
    edits        BIGINT
);
