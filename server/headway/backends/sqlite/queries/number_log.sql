UPDATE jobs SET last_seq = last_seq + :lines, bytes = bytes + :bytes
WHERE id = :id AND status = 'running' AND attempt = :attempt
RETURNING last_seq, owner, type, {kept}
