-- For many jobs at once: between two statements the writer's thread gives the interpreter to the event loop, and waits.
WITH ticked (
    job_id, fence, published, at, percent, done, total, unit, message, step, rate_per_second, eta_s
) AS (
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
)
UPDATE jobs SET
    percent = ticked.percent, done = ticked.done, total = ticked.total, unit = ticked.unit, message = ticked.message,
    step = ticked.step, rate_per_second = ticked.rate_per_second, eta_s = ticked.eta_s, updated_at = ticked.at,
    version = max(version, ticked.published)
FROM ticked
WHERE id = ticked.job_id AND status = 'running' AND attempt = ticked.fence
RETURNING id
