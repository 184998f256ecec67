UPDATE deliveries SET
    taken = 1, due_at = :leased_until, attempts = attempts + 1, tries = tries + 1, last_attempt_at = :now
WHERE id IN (
    SELECT id FROM deliveries
    WHERE status = 'pending' AND owner = :owner AND host = :host AND taken = 0 AND due_at <= :now
    ORDER BY due_at, id LIMIT :limit
)
RETURNING {delivery}, body
