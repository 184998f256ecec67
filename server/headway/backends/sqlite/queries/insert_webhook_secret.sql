INSERT INTO webhook_secrets (owner, secret, created_at, revealed_at) VALUES (:owner, :secret, :now, :revealed_at)
