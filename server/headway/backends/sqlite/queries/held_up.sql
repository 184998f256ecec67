-- Parked jobs although their owner and their key may start another, and nothing of their type is open instead.
WITH parked AS (
    SELECT owner, key_id, type, count(*) AS jobs FROM jobs WHERE status = 'queued' AND turn < 0 GROUP BY 1, 2, 3
)
SELECT parked.owner, parked.type, parked.jobs FROM parked
LEFT JOIN quotas AS of_owner ON of_owner.holder = 'owner' AND of_owner.name = parked.owner
LEFT JOIN quotas AS of_key ON of_key.holder = 'key' AND of_key.name = parked.key_id
WHERE coalesce(
        (SELECT count(*) FROM jobs WHERE status = 'running' AND type <> 'actions' AND owner = parked.owner)
        < iif(of_owner.name IS NULL, :running, of_owner.running), 1
    )
    AND coalesce(
        (SELECT count(*) FROM jobs WHERE status = 'running' AND type <> 'actions' AND key_id = parked.key_id)
        < of_key.running, 1
    )
    AND NOT EXISTS (
        SELECT 1 FROM jobs
        WHERE status = 'queued' AND turn >= 0 AND type = parked.type AND owner = parked.owner
    )
LIMIT :limit
