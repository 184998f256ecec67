SELECT DISTINCT job_id, attempt FROM result_parts AS part WHERE NOT EXISTS (
    SELECT 1 FROM jobs
    WHERE id = part.job_id AND attempt = part.attempt
      AND (status = 'running' OR (result_bytes IS NOT NULL AND status <> 'queued'))
)
