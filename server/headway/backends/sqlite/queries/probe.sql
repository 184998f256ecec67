INSERT INTO probe (only, at) VALUES (1, :now) ON CONFLICT (only) DO UPDATE SET at = :now
