-- An expired row that the sweep has not found yet may be in the way.
INSERT OR REPLACE INTO idempotency_keys (owner, key, fingerprint, job_id, expires_at)
VALUES (:owner, :key, :fingerprint, :job_id, :expires_at)
