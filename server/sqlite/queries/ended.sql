SELECT {columns} FROM jobs
WHERE owner = :owner AND completed_at > :since {where}
ORDER BY completed_at DESC LIMIT :limit
