SELECT sha256, key_id, expires_at FROM sessions ORDER BY expires_at
