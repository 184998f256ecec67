INSERT INTO attempts (job_id, attempt, started_at, ended_at, outcome, error, peak_memory_bytes, cpu_s)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
