-- With the job's row in one statement, so that no deletion comes in between.
SELECT result_bytes, number, crc32, content
FROM jobs LEFT JOIN result_parts ON result_parts.job_id = jobs.id AND result_parts.attempt = jobs.attempt
WHERE id = :job_id AND result IS NULL AND result_bytes IS NOT NULL
ORDER BY number
