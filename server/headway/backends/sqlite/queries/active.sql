SELECT * FROM (
    SELECT {columns} FROM jobs WHERE owner = :owner AND status = 'running' {where} ORDER BY id DESC LIMIT :limit
)
UNION ALL
SELECT * FROM (
    SELECT {columns} FROM jobs WHERE owner = :owner AND status = 'queued' {where} ORDER BY id DESC
    LIMIT max(0, :limit - (
        SELECT count(*) FROM (
            SELECT 1 FROM jobs WHERE owner = :owner AND status = 'running' {where} LIMIT :limit
        )
    ))
)
UNION ALL
SELECT * FROM (
    SELECT {columns} FROM jobs WHERE owner = :owner AND completed_at > :since {where}
    ORDER BY completed_at DESC LIMIT :limit
)
