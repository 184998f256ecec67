-- For many attempts at once: a statement for each takes twice as long.
WITH ended (
    job_id, fence, published, at, done, total, unit, message, step, result, result_bytes, url, files, files_total, output
) AS (
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
)
UPDATE jobs SET
    status = 'completed', updated_at = ended.at, completed_at = ended.at,
    expires_at = ended.at + CAST(min(retain_s, 3155760000.0) * 1000 AS INTEGER),
    percent = 100, done = ended.done, total = ended.total, unit = ended.unit, message = ended.message,
    step = ended.step, rate_per_second = NULL, eta_s = NULL,
    result = ended.result, result_bytes = ended.result_bytes, result_url = ended.url, files = ended.files,
    files_total = ended.files_total, checkpoint = NULL, bytes = jobs.bytes + ended.output,
    last_seq = last_seq + 1, state_seq = last_seq + 1, version = max(version, ended.published) + 1
FROM ended
WHERE id = ended.job_id AND status = 'running' AND attempt = ended.fence AND cancel_requested = 0
RETURNING {columns}, {kept}
