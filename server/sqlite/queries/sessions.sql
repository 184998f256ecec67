SELECT sha256, key_id, expires_at FROM sessions
