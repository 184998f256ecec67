UPDATE deliveries SET
    status = :status, taken = 0, ended_at = :now, last_status = :last_status, last_error = :last_error
WHERE id = :id AND status = 'pending' AND taken = 1 AND attempts = :attempts
