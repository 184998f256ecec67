SELECT {entry} FROM audit
WHERE seq > :after AND (:since IS NULL OR at >= :since)
  AND (:owner IS NULL OR owner = :owner) AND (:action IS NULL OR action = :action)
  AND (:actor IS NULL OR :actor IN (actor, actor_owner, key_id))
ORDER BY seq LIMIT :limit
