SELECT due_at FROM receivers
WHERE owner NOT IN (SELECT value FROM json_each(:full))
ORDER BY due_at LIMIT 1
