UPDATE jobs SET
    label = :label, priority = :priority, run_at = :run_at, retain_s = :retain_s, metadata = :metadata,
    -- NULL plus anything is NULL: a job that has not ended does not expire.
    expires_at = completed_at + CAST(min(:retain_s, 3155760000.0) * 1000 AS INTEGER),
    edits = coalesce(edits, 0) + 1, updated_at = :now, version = max(version, :version) + 1
WHERE id = :id
RETURNING {columns}
