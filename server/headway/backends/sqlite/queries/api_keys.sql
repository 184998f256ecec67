SELECT id, name, owner, read_only, admin, created_at, revoked_at, works_on, sha256 FROM api_keys ORDER BY created_at, id
