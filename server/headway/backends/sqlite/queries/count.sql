INSERT INTO counts VALUES (?, ?, ?, ?)
ON CONFLICT (owner, type, status) DO UPDATE SET jobs = jobs + excluded.jobs
