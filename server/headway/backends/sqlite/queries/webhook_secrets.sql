SELECT secret, created_at, expires_at, revealed_at FROM webhook_secrets
WHERE owner = :owner AND (expires_at IS NULL OR expires_at > :now)
ORDER BY expires_at IS NOT NULL, expires_at DESC
