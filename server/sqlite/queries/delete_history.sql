DELETE FROM history WHERE job_id = :id
