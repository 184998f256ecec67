SELECT 1 FROM jobs INDEXED BY jobs_parked WHERE status = 'queued' AND turn < 0 LIMIT 1
