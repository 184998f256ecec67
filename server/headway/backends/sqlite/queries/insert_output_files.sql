INSERT INTO output_files (job_id, first, files) VALUES (:job_id, :first, :files)
