DELETE FROM output_files WHERE job_id = :job_id
