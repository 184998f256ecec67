UPDATE jobs SET
    percent = :percent, done = :done, total = :total, unit = :unit, message = :message, step = :step,
    rate_per_second = :rate_per_second, eta_s = :eta_s, updated_at = :now, version = max(version, :version)
WHERE id = :id AND status = 'running' AND attempt = :attempt
