INSERT OR IGNORE INTO job_words (owner, word, job_id) VALUES (?, ?, ?)
