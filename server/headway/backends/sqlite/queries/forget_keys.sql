DELETE FROM idempotency_keys WHERE (owner, key) IN (
    SELECT owner, key FROM idempotency_keys WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit
)
