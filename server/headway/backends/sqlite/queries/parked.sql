SELECT -priority, turn, run_at, id FROM jobs
WHERE status = 'queued' AND turn < 0 AND owner = :owner AND key_id IS :key_id AND type = :type
ORDER BY priority DESC, turn, run_at, id LIMIT :limit
