INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (owner, key_id, type, status) DO UPDATE SET jobs = jobs + excluded.jobs, bytes = bytes + excluded.bytes
