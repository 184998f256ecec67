SELECT type, min(run_at) FROM jobs
WHERE status = 'queued' AND run_at <= :now
GROUP BY type
