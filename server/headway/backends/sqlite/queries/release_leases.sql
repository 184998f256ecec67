-- Nothing is known of these attempts, so they count as no tries.
UPDATE deliveries SET taken = 0, tries = max(tries - 1, 0)
WHERE status = 'pending' AND owner = :owner AND host = :host AND taken = 1 AND due_at <= :now
