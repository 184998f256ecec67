SELECT 1 FROM (SELECT seq, at FROM audit ORDER BY seq LIMIT 1)
WHERE at < :before AND seq < (SELECT max(seq) FROM audit)
