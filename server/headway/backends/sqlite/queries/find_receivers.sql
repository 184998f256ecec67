INSERT INTO receivers (owner, host, due_at)
SELECT owner, host, min(due_at) FROM deliveries WHERE status = 'pending' GROUP BY owner, host
