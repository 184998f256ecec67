-- Nothing is known of the attempts that were under way, so they count as no tries.
UPDATE deliveries SET taken = 0, due_at = :now, tries = max(tries - 1, 0) WHERE status = 'pending' AND taken = 1
