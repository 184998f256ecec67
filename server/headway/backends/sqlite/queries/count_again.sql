-- The jobs of the owners of these jobs. A damaged value counts nothing.
INSERT INTO counts (owner, key_id, type, status, jobs, bytes)
SELECT
    owner, coalesce(CAST(key_id AS TEXT), '') AS key, CAST(type AS TEXT) AS kind, status, count(*),
    sum(
        iif(typeof(bytes) = 'integer' AND bytes BETWEEN 0 AND 1099511627776, bytes, 0)
        + iif(status IN ('queued', 'running'), checkpoint_bytes, 0)
    )
FROM jobs WHERE owner IN (SELECT owner FROM jobs WHERE rowid IN (SELECT value FROM json_each(:rows)))
GROUP BY owner, key, kind, status
