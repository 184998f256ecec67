DELETE FROM job_metadata WHERE owner = ? AND name = ? AND value = ? AND job_id = ?
