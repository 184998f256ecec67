SELECT seq, at, level, message FROM history
WHERE job_id = :id AND kind = 'log' AND seq > :after AND seq <= :up_to
ORDER BY seq LIMIT :limit
