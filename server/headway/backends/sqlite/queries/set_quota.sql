INSERT INTO quotas (holder, name, jobs, bytes, queued, running)
VALUES (:holder, :name, :jobs, :bytes, :queued, :running)
ON CONFLICT (holder, name) DO UPDATE SET
    jobs = excluded.jobs, bytes = excluded.bytes, queued = excluded.queued, running = excluded.running
