SELECT id, bytes, found FROM (
    SELECT
        id, bytes,
        length(CAST(input AS BLOB)) + coalesce(length(CAST(result AS BLOB)), 0)
            + iif(
                result IS NULL AND result_bytes IS NOT NULL,
                (
                    SELECT coalesce(sum(length(content)), 0) FROM result_parts
                    WHERE job_id = jobs.id AND result_parts.attempt = jobs.attempt
                ),
                0
            )
            + coalesce(
                (SELECT sum(length(CAST(message AS BLOB))) FROM history WHERE job_id = jobs.id AND kind = 'log'), 0
            )
            + (
                SELECT CAST(min(max(total(json_extract(value, '$.size_bytes')), 0), 1099511627776) AS INTEGER)
                FROM json_each(iif(json_valid(uploads), uploads, '[]')) WHERE type = 'object'
            )
            + iif(
                files_total IS NULL,
                (
                    SELECT CAST(min(max(total(json_extract(value, '$.size_bytes')), 0), 1099511627776) AS INTEGER)
                    FROM json_each(iif(json_valid(jobs.files), jobs.files, '[]')) WHERE type = 'object'
                ),
                (
                    SELECT CAST(min(max(total(json_extract(file.value, '$[1]')), 0), 1099511627776) AS INTEGER)
                    FROM output_files, json_each(iif(json_valid(output_files.files), output_files.files, '[]')) AS file
                    WHERE output_files.job_id = jobs.id AND file.type = 'array'
                )
            ) AS found
    FROM jobs
) WHERE bytes <> found LIMIT :limit
