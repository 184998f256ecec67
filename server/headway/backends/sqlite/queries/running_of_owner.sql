SELECT count(*) FROM jobs WHERE status = 'running' AND owner = :name
