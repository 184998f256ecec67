SELECT owner, host, failing FROM receivers WHERE due_at <= :now ORDER BY due_at LIMIT :limit
