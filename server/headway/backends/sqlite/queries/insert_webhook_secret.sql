INSERT INTO webhook_secrets (owner, secret, created_at) VALUES (:owner, :secret, :now)
