SELECT count(*) FROM jobs WHERE status = 'running' AND key_id = :name
