SELECT owner, host, rests_until FROM receivers
WHERE due_at <= :now AND owner NOT IN (SELECT value FROM json_each(:full))
ORDER BY due_at LIMIT :limit
