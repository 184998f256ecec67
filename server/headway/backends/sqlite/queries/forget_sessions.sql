DELETE FROM sessions WHERE sha256 IN (
    SELECT sha256 FROM sessions WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit
)
RETURNING sha256
