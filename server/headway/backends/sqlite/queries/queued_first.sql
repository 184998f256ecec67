-- Parked jobs, which have negative turns, come after those of the same priority that may start.
SELECT id FROM jobs INDEXED BY jobs_by_status
WHERE owner = :owner AND status = 'queued' AND run_at <= :now AND type IN (SELECT value FROM json_each(:types))
ORDER BY priority DESC, coalesce(turn, -1) < 0, coalesce(turn, -1), run_at, id LIMIT :limit
