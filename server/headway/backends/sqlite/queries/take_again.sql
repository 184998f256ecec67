UPDATE deliveries SET taken = 0, due_at = :now WHERE status = 'pending' AND taken = 1
