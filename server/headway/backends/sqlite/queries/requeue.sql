UPDATE jobs SET
    status = 'queued', updated_at = :now, run_at = coalesce(:run_at, run_at),
    turn = iif(:run_at IS NULL, 0, NULL),  -- NULL until it is due; 0: what was interrupted comes first
    percent = NULL, done = NULL, total = NULL, unit = NULL, message = :message, step = NULL,
    rate_per_second = NULL, eta_s = NULL,
    failures = failures + :failures, recoveries = recoveries + :recoveries, interruptions = interruptions + :interruptions,
    last_seq = last_seq + 1, state_seq = last_seq + 1, version = max(version, :version) + 1
WHERE id = :id AND status = 'running' AND attempt = :attempt AND cancel_requested = 0
RETURNING {columns}, {kept}
