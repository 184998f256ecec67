UPDATE deliveries SET taken = 0, due_at = :due_at, last_status = :last_status, last_error = :last_error
WHERE id = :id AND status = 'pending' AND taken = 1 AND attempts = :attempts
