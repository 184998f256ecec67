SELECT count(*) FROM jobs WHERE status = 'running' AND type <> 'actions' AND owner = :name
