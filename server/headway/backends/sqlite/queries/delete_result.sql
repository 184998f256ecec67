UPDATE jobs SET
    result = NULL, result_bytes = NULL, files = NULL, files_total = NULL, bytes = bytes - :freed,
    updated_at = :now, version = max(version, :version) + 1
WHERE id = :id AND status IN ('completed', 'failed', 'cancelled')
AND (result IS NOT NULL OR result_bytes IS NOT NULL OR files IS NOT NULL OR files_total IS NOT NULL)
RETURNING {columns}, {kept}
