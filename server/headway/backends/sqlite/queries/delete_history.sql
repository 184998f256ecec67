DELETE FROM history WHERE job_id = :job_id
