SELECT owner, coalesce(key_id, '') FROM jobs WHERE status = 'running' AND type <> 'actions'
