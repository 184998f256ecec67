INSERT INTO history (job_id, seq, at, kind, level, message) VALUES (:job_id, :seq, :at, :kind, :level, :message)
-- A row is there already only if the job's counter is damaged.
ON CONFLICT (job_id, seq) DO NOTHING
