UPDATE jobs SET checkpoint = :checkpoint WHERE id = :id AND status = 'running' AND attempt = :attempt
