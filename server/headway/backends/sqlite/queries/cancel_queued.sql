UPDATE jobs SET
    status = 'cancelled', updated_at = :now, completed_at = :now,
    expires_at = :now + CAST(min(retain_s, 3155760000.0) * 1000 AS INTEGER),
    cancel_requested = 1, eta_s = NULL, checkpoint = NULL,
    last_seq = last_seq + 1, state_seq = last_seq + 1, version = version + 1
WHERE id = :id AND status = 'queued'
RETURNING {columns}, {kept}, turn
