-- Whether a column is NULL is in the row's header: a large result before it is not read.
SELECT id, files IS NOT NULL FROM jobs
WHERE id IN (SELECT value FROM json_each(:ids)) AND status IN ('completed', 'failed', 'cancelled')
