UPDATE jobs SET
    status = 'failed', updated_at = :now, completed_at = :now,
    expires_at = :now + CAST(min(retain_s, 3155760000.0) * 1000 AS INTEGER),
    percent = :percent, done = :done, total = :total, unit = :unit, message = :message, step = :step,
    rate_per_second = NULL, eta_s = NULL,
    error = :error, failures = failures + :failures, checkpoint = NULL,
    recoveries = recoveries + :recoveries, interruptions = interruptions + :interruptions,
    last_seq = last_seq + 1, state_seq = last_seq + 1, version = max(version, :version) + 1
WHERE id = :id AND status = 'running' AND attempt = :attempt AND cancel_requested = 0
RETURNING {columns}, {kept}
