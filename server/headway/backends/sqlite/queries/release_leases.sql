UPDATE deliveries SET taken = 0
WHERE status = 'pending' AND owner = :owner AND host = :host AND taken = 1 AND due_at <= :now
