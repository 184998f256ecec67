-- OR REPLACE: an expired row that has not been deleted yet may be in the way.
INSERT OR REPLACE INTO idempotency_keys (owner, key, fingerprint, job_id, expires_at, outcomes)
VALUES (:owner, :key, :fingerprint, :job_id, :expires_at, :outcomes)
