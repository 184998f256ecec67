INSERT OR IGNORE INTO job_metadata (owner, name, value, job_id) VALUES (?, ?, ?, ?)
