INSERT INTO audit (
    at, actor, actor_owner, key_id, address, request_id, action, owner, subject, job_type, outcome, times,
    detail
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
