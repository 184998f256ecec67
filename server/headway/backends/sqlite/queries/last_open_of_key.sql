SELECT id, owner, coalesce(key_id, ''), priority, turn FROM jobs
WHERE status = 'queued' AND key_id = :name AND type = :type AND turn >= 0
ORDER BY priority, turn DESC, run_at DESC, id DESC LIMIT :limit
