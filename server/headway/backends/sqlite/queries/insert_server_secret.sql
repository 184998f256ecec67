INSERT INTO server_secret (only, secret) VALUES (1, :secret) ON CONFLICT DO NOTHING
