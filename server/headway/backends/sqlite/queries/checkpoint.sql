UPDATE jobs SET checkpoint = :checkpoint, checkpoint_bytes = :bytes
WHERE id = :id AND status = 'running' AND attempt = :attempt
RETURNING owner, type, {kept}
