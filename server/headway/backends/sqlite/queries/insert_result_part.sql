-- Of a current attempt only: what a completed job has is never replaced.
INSERT OR REPLACE INTO result_parts (job_id, attempt, number, crc32, content)
SELECT new.job_id, new.attempt, new.number, new.crc32, new.content
FROM (SELECT ? AS job_id, ? AS attempt, ? AS number, ? AS crc32, ? AS content) AS new
JOIN jobs ON jobs.id = new.job_id AND jobs.status = 'running' AND jobs.attempt = new.attempt
