-- API keys, and the sessions of people who signed in with one. Only their SHA-256 is stored. They are 256 random bits,
-- which cannot be guessed, so a slow hash would protect nothing.

CREATE TABLE api_keys (
    id         TEXT    NOT NULL PRIMARY KEY,
    sha256     TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    owner      TEXT    NOT NULL,
    read_only  INTEGER NOT NULL,
    admin      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX api_keys_in_force ON api_keys (name) WHERE revoked_at IS NULL;

CREATE TABLE sessions (
    sha256     TEXT    NOT NULL PRIMARY KEY,
    key_id     TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_expiring ON sessions (expires_at);

CREATE TABLE server_secret (                         -- signs tickets; created when it is first needed
    only   INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    secret BLOB    NOT NULL
) STRICT;
