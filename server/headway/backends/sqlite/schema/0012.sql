-- The audit trail. Rows are numbered without gaps: SQLite gives a new row the largest number plus one, a transaction
-- that is rolled back uses none up, and retention deletes the oldest rows but never the newest.

CREATE TABLE audit (
    seq         INTEGER NOT NULL PRIMARY KEY,
    at          INTEGER NOT NULL,
    actor       TEXT    NOT NULL,                    -- the kind of actor
    actor_owner TEXT,
    key_id      TEXT,
    address     TEXT,
    request_id  TEXT,
    action      TEXT    NOT NULL,
    owner       TEXT,                                -- of the subject
    subject     TEXT,                                -- the id of a job or a key
    job_type    TEXT,
    outcome     TEXT    NOT NULL,
    times       INTEGER NOT NULL
) STRICT;

CREATE TABLE audit_retention (                       -- has its row only while retention deletes
    only   INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    before INTEGER NOT NULL
) STRICT;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'entries of the audit trail are never changed');
END;

CREATE TRIGGER audit_is_deleted_by_retention BEFORE DELETE ON audit
WHEN NOT EXISTS (SELECT 1 FROM audit_retention WHERE old.at < before) BEGIN
    SELECT RAISE(ABORT, 'entries of the audit trail are deleted by retention only');
END;
