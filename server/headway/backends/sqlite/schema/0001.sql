-- The record. Instants are milliseconds since 1970 (UTC), durations seconds, sizes bytes.
-- STRICT: values of the wrong type are rejected. See sqlite.org/stricttables.html.

CREATE TABLE jobs (
    id               TEXT    NOT NULL PRIMARY KEY,   -- UUIDv7: it grows, so inserts go to the end of the index
    owner            TEXT    NOT NULL,
    type             TEXT    NOT NULL,
    label            TEXT,
    status           TEXT    NOT NULL
                     CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    priority         INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    run_at           INTEGER NOT NULL,
    started_at       INTEGER,
    updated_at       INTEGER NOT NULL,
    completed_at     INTEGER,
    expires_at       INTEGER,
    attempt          INTEGER NOT NULL DEFAULT 0,
    max_attempts     INTEGER NOT NULL,
    failures         INTEGER NOT NULL DEFAULT 0,
    recoveries       INTEGER NOT NULL DEFAULT 0,
    interruptions    INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    purge_requested  INTEGER NOT NULL DEFAULT 0,
    percent          REAL,
    done             ANY,                            -- a number as the handler reported it: 420 stays an integer
    total            ANY,
    unit             TEXT,
    message          TEXT,
    step             TEXT,
    rate_per_second  REAL,
    eta_s            INTEGER,
    error            TEXT,                           -- JSON
    files            TEXT,                           -- JSON
    retry_of         TEXT,
    timeout_s        REAL,
    retain_s         REAL    NOT NULL,
    uploads          TEXT,                           -- JSON
    last_seq         INTEGER NOT NULL DEFAULT 1,     -- 1 is being queued, which has no history row
    state_seq        INTEGER NOT NULL DEFAULT 1,
    version          INTEGER NOT NULL DEFAULT 1,
    result_bytes     INTEGER,
    -- The large columns come last, so that reading the others never touches their overflow pages.
    checkpoint       TEXT,
    input            TEXT    NOT NULL,
    result           TEXT
) STRICT;

-- For claims: one seek for each type and priority, in the order of due jobs.
CREATE INDEX jobs_queued ON jobs (type, priority DESC, run_at, id) WHERE status = 'queued';
CREATE INDEX jobs_running ON jobs (id) WHERE status = 'running';
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE expires_at IS NOT NULL;
-- For lists: newest first, paged by id.
CREATE INDEX jobs_by_owner ON jobs (owner, id);
CREATE INDEX jobs_by_status ON jobs (owner, status, id);
CREATE INDEX jobs_by_type ON jobs (owner, type, id);
CREATE INDEX jobs_by_label ON jobs (owner, label, id) WHERE label IS NOT NULL;
CREATE INDEX jobs_ended ON jobs (owner, completed_at) WHERE completed_at IS NOT NULL;

-- Log lines and changes of state, which no watcher may miss. Each job numbers them from 2.
CREATE TABLE history (
    job_id  TEXT    NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('log', 'state')),
    level   TEXT    NOT NULL,                        -- of a log line; of a change of state: the new state
    message TEXT    NOT NULL,                        -- of a change of state: "attempt N"
    PRIMARY KEY (job_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE probe (                                 -- written by the readiness check
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    at   INTEGER NOT NULL
) STRICT;
