INSERT INTO jobs (
    id, owner, type, label, status, priority, created_at, run_at, updated_at, max_attempts, timeout_s,
    retain_s, uploads, retry_of, input
) VALUES (
    :id, :owner, :type, :label, 'queued', :priority, :created_at, :run_at, :created_at, :max_attempts, :timeout_s,
    :retain_s, :uploads, :retry_of, :input
)
