SELECT attempt, started_at, ended_at, outcome, error, peak_memory_bytes, cpu_s FROM attempts
WHERE job_id = :job_id AND attempt > :after AND attempt <= :up_to
ORDER BY attempt LIMIT :limit
