INSERT INTO api_keys (id, sha256, name, owner, read_only, admin, created_at)
VALUES (:id, :sha256, :name, :owner, :read_only, :admin, :created_at)
