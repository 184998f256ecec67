-- Recorded or attempted by a clock that was ahead of this one: the remaining wait is the same as it was then.
UPDATE deliveries SET due_at = :now + max(0, due_at - coalesce(last_attempt_at, created_at))
WHERE status = 'pending' AND coalesce(last_attempt_at, created_at) > :now
