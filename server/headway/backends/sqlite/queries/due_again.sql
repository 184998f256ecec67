-- Queued by a clock that was ahead of this one: a new job is due now, and a back-off ends within its longest.
UPDATE jobs SET run_at = iif(attempt = 0, :now, :latest), version = version + 1
WHERE status = 'queued' AND run_at > :now
  AND ((attempt = 0 AND run_at <= created_at) OR (attempt > 0 AND run_at > :latest))
