SELECT owner, type, status, count(*) FROM jobs GROUP BY owner, type, status
