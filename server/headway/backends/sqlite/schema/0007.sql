-- Webhooks: whom a job tells, what is still to be said, and with which secrets it is signed. A delivery is written with
-- the change that it tells of, in one transaction, and outlives its job while it is pending.

ALTER TABLE jobs ADD COLUMN webhook TEXT;            -- JSON; nearly always NULL

CREATE TABLE deliveries (
    id              TEXT    NOT NULL PRIMARY KEY,    -- UUIDv7; its receiver knows it as `webhook-id`
    job_id          TEXT    NOT NULL,                -- the job may be gone
    owner           TEXT    NOT NULL,
    event           TEXT    NOT NULL,
    url             TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    taken           INTEGER NOT NULL DEFAULT 0,      -- a sender has it, until `due_at` at the latest
    due_at          INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,      -- the fence, like a job's
    tries           INTEGER NOT NULL DEFAULT 0,      -- attempts since it was written, or asked for again
    created_at      INTEGER NOT NULL,
    last_attempt_at INTEGER,
    ended_at        INTEGER,
    last_status     INTEGER,
    last_error      TEXT,
    body            TEXT    NOT NULL                 -- final: every attempt sends the same bytes
) STRICT;

CREATE INDEX deliveries_due ON deliveries (owner, host, taken, due_at, id) WHERE status = 'pending';
CREATE INDEX deliveries_taken ON deliveries (owner) WHERE taken = 1;
CREATE INDEX deliveries_to_url ON deliveries (owner, url) WHERE status = 'pending';
CREATE INDEX deliveries_of_job ON deliveries (job_id, id);
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;

-- The hosts for which something is pending, each with an instant that is not later than when it is worth a look: who
-- looks for due deliveries seeks here, and never passes the thousands that wait for a host that is down.
CREATE TABLE receivers (
    owner       TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    due_at      INTEGER NOT NULL,
    rests_until INTEGER,                             -- the last attempt was in vain: one at a time, none before this
    PRIMARY KEY (owner, host)
) STRICT, WITHOUT ROWID;

CREATE INDEX receivers_due ON receivers (due_at);

CREATE TABLE gone_receivers (                        -- URLs that answered 410
    owner TEXT    NOT NULL,
    url   TEXT    NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (owner, url)
) STRICT, WITHOUT ROWID;

CREATE INDEX gone_receivers_by_age ON gone_receivers (at);

CREATE TABLE webhook_secrets (                       -- in the clear: they must sign
    owner      TEXT    NOT NULL,
    secret     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,                              -- NULL: the current one
    PRIMARY KEY (owner, secret)
) STRICT, WITHOUT ROWID;
