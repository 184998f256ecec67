INSERT INTO attempts (job_id, attempt, started_at, ended_at, outcome, error, peak_memory_bytes, cpu_s)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
-- A row is there already only if the job's counter is damaged.
ON CONFLICT (job_id, attempt) DO NOTHING
