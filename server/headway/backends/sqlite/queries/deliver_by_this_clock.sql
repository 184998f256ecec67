-- Written or tried by a clock that was ahead of this one: what was left to wait then is left to wait now.
UPDATE deliveries SET due_at = :now + max(0, due_at - coalesce(last_attempt_at, created_at))
WHERE status = 'pending' AND coalesce(last_attempt_at, created_at) > :now
