INSERT INTO sessions (sha256, key_id, expires_at) VALUES (:sha256, :key_id, :expires_at)
