INSERT INTO history (job_id, seq, at, kind, level, message) VALUES (:job_id, :seq, :at, :kind, :level, :message)
