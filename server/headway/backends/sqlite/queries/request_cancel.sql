UPDATE jobs SET
    cancel_requested = 1, purge_requested = max(purge_requested, :purge), updated_at = :now,
    version = max(version, :version) + 1
WHERE id = :id AND status = 'running'
RETURNING {columns}
