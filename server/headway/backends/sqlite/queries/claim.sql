UPDATE jobs SET
    status = 'running', attempt = attempt + 1, started_at = :now, updated_at = :now,
    percent = NULL, done = NULL, total = NULL, unit = NULL, message = NULL, step = NULL,
    rate_per_second = NULL, eta_s = :eta_s,
    last_seq = last_seq + 1, state_seq = last_seq + 1, version = version + 1
WHERE id IN (SELECT value FROM json_each(:ids)) AND status = 'queued'
RETURNING {columns}, {kept}, input, checkpoint
