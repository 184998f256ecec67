SELECT 1 FROM jobs WHERE id = :id AND status = 'running' AND attempt = :attempt AND NOT cancel_requested
