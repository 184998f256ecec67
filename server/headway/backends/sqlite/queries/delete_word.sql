DELETE FROM job_words WHERE owner = ? AND word = ? AND job_id = ?
