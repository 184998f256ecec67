-- Quotas. Each job records the key it was submitted with and how many bytes it keeps: its input and uploads, the text of
-- its log, its result and its output files. An active job's checkpoint counts too. It is apart, because it is deleted at
-- the job's end: the end of a job then says what it takes away without reading the row before.

ALTER TABLE jobs ADD COLUMN key_id TEXT;             -- NULL without a key
ALTER TABLE jobs ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN checkpoint_bytes INTEGER NOT NULL DEFAULT 0;

-- A damaged value counts nothing, and none more than a tebibyte: the sums have to stay below 2^63.
UPDATE jobs SET
    bytes = length(CAST(input AS BLOB)) + min(max(coalesce(result_bytes, 0), 0), 1099511627776)
        + coalesce(
            (SELECT sum(length(CAST(message AS BLOB))) FROM history WHERE job_id = jobs.id AND kind = 'log'), 0
        )
        + CASE WHEN json_valid(uploads) THEN (
            SELECT CAST(min(max(total(json_extract(value, '$.size_bytes')), 0), 1099511627776) AS INTEGER)
            FROM json_each(jobs.uploads) WHERE type = 'object'
        ) ELSE 0 END
        + CASE WHEN files_total IS NULL AND json_valid(files) THEN (
            SELECT CAST(min(max(total(json_extract(value, '$.size_bytes')), 0), 1099511627776) AS INTEGER)
            FROM json_each(jobs.files) WHERE type = 'object'
        ) ELSE 0 END
        + CASE WHEN files_total IS NOT NULL THEN (
            SELECT CAST(min(max(total(json_extract(file.value, '$[1]')), 0), 1099511627776) AS INTEGER)
            FROM output_files, json_each(iif(json_valid(output_files.files), output_files.files, '[]')) AS file
            WHERE output_files.job_id = jobs.id AND file.type = 'array'
        ) ELSE 0 END,
    checkpoint_bytes = coalesce(length(CAST(checkpoint AS BLOB)), 0);

-- Jobs and what they keep are counted by key as well.
ALTER TABLE counts RENAME TO counts_without_keys;
CREATE TABLE counts (
    owner  TEXT    NOT NULL,
    key_id TEXT    NOT NULL,                         -- empty without a key
    type   TEXT    NOT NULL,
    status TEXT    NOT NULL,
    jobs   INTEGER NOT NULL,
    bytes  INTEGER NOT NULL,
    PRIMARY KEY (owner, key_id, type, status)
) STRICT, WITHOUT ROWID;
INSERT INTO counts
SELECT owner, '', type, status, count(*), sum(bytes + iif(status IN ('queued', 'running'), checkpoint_bytes, 0))
FROM jobs GROUP BY owner, type, status;
DROP TABLE counts_without_keys;

-- Of keys and of owners. An owner without a row has the server's default.
CREATE TABLE quotas (
    holder  TEXT    NOT NULL CHECK (holder IN ('owner', 'key')),
    name    TEXT    NOT NULL,                        -- the owner, or the key's id
    jobs    INTEGER,                                 -- NULL: no limit
    bytes   INTEGER,
    queued  INTEGER,
    running INTEGER,
    PRIMARY KEY (holder, name)
) STRICT, WITHOUT ROWID;
