INSERT INTO jobs (
    status, id, owner, type, label, priority, created_at, run_at, updated_at, max_attempts, timeout_s, retain_s,
    uploads, retry_of, webhook, input, metadata, turn, key_id, bytes
) VALUES ('queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
