SELECT count(*) FROM jobs WHERE status = 'running' AND type <> 'actions' AND key_id = :name
