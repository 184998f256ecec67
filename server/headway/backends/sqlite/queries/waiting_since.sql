-- Jobs that wait for a quota are not ready to run.
SELECT type, min(run_at) FROM jobs
WHERE status = 'queued' AND run_at <= :now AND coalesce(turn, 0) >= 0
GROUP BY type
