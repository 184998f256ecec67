SELECT min(due_at) FROM deliveries
WHERE status = 'pending' AND owner = :owner AND host = :host AND taken = :taken
