-- Webhooks, their deliveries, and the secrets that sign them. A delivery is recorded in the transaction of the change
-- that it announces. While it is pending, it outlives its job.

ALTER TABLE jobs ADD COLUMN webhook TEXT;            -- JSON; nearly always NULL

CREATE TABLE deliveries (
    id              TEXT    NOT NULL PRIMARY KEY,    -- UUIDv7; the receiver sees it as `webhook-id`
    job_id          TEXT    NOT NULL,                -- the job may be gone
    owner           TEXT    NOT NULL,
    event           TEXT    NOT NULL,
    url             TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    taken           INTEGER NOT NULL DEFAULT 0,      -- leased to a sender, until `due_at` at the latest
    due_at          INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,      -- the fence, like a job's
    tries           INTEGER NOT NULL DEFAULT 0,      -- attempts since it was recorded or redelivered
    created_at      INTEGER NOT NULL,
    last_attempt_at INTEGER,
    ended_at        INTEGER,
    last_status     INTEGER,
    last_error      TEXT,
    body            TEXT    NOT NULL                 -- final: every attempt sends the same body
) STRICT;

CREATE INDEX deliveries_due ON deliveries (owner, host, taken, due_at, id) WHERE status = 'pending';
CREATE INDEX deliveries_taken ON deliveries (owner) WHERE taken = 1;
CREATE INDEX deliveries_to_url ON deliveries (owner, url) WHERE status = 'pending';
CREATE INDEX deliveries_of_job ON deliveries (job_id, id);
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;

-- The hosts with pending deliveries. `due_at` is never later than the first due delivery. Senders seek here, so that
-- they never scan the thousands of deliveries to a host that is down.
CREATE TABLE receivers (
    owner       TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    due_at      INTEGER NOT NULL,
    rests_until INTEGER,                             -- the last attempt failed: one at a time, none before this
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

CREATE TABLE webhook_secrets (                       -- in plain text, because they sign
    owner      TEXT    NOT NULL,
    secret     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,                              -- NULL: the current secret
    PRIMARY KEY (owner, secret)
) STRICT, WITHOUT ROWID;
