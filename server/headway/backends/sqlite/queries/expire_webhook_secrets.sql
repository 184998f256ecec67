UPDATE webhook_secrets SET expires_at = min(coalesce(expires_at, :until), :until) WHERE owner = :owner
