-- Without a limit: the caller passes over the jobs that may not start yet, and stops when it has enough.
SELECT turn, run_at, id, owner, coalesce(key_id, '') FROM jobs
WHERE status = 'queued' AND type = :type AND priority = :priority AND turn >= 0
ORDER BY turn, run_at, id
