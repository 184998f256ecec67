SELECT job_id, fingerprint, outcomes FROM idempotency_keys
WHERE owner = :owner AND key = :key AND expires_at > :now
