DELETE FROM webhook_secrets WHERE expires_at <= :now
