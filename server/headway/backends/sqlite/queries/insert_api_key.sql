INSERT INTO api_keys (id, sha256, name, owner, read_only, admin, created_at, works_on)
VALUES (:id, :sha256, :name, :owner, :read_only, :admin, :created_at, :works_on)
