SELECT {columns} FROM jobs
WHERE owner = :owner {where}
ORDER BY id DESC LIMIT :limit
