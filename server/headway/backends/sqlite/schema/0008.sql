-- The output files of jobs that have many. A job's row has the first hundred of them, in `files`; if there are more, all
-- of them are here, by name, some hundred in a row.

ALTER TABLE jobs ADD COLUMN files_total INTEGER;     -- NULL: no more than in `files`; NULL for the reason given in 0004

CREATE TABLE output_files (
    job_id TEXT NOT NULL,
    first  TEXT NOT NULL,                            -- the name of the first file in this row
    files  TEXT NOT NULL,                            -- JSON: [[name, size in bytes, content type], ...]
    PRIMARY KEY (job_id, first)
) STRICT;

-- A damaged value stays as it is: reading it copes with that.
UPDATE jobs SET files_total = json_array_length(files)
WHERE CASE WHEN json_valid(files) THEN json_array_length(files) > 100 END;

INSERT OR IGNORE INTO output_files (job_id, first, files)
SELECT job_id, min(name), json_group_array(json_array(name, size_bytes, content_type))
FROM (
    SELECT
        jobs.id AS job_id, file.key / 200 AS part, json_extract(file.value, '$.name') AS name,
        json_extract(file.value, '$.size_bytes') AS size_bytes,
        json_extract(file.value, '$.content_type') AS content_type
    FROM jobs, json_each(jobs.files) AS file
    WHERE jobs.files_total IS NOT NULL AND file.type = 'object'
    ORDER BY jobs.id, file.key
)
WHERE name IS NOT NULL
GROUP BY job_id, part;

UPDATE jobs SET files = (
    SELECT json_group_array(json(value))
    FROM (SELECT value FROM json_each(jobs.files) WHERE type = 'object' ORDER BY key LIMIT 100)
)
WHERE files_total IS NOT NULL;
