SELECT type, priority, owner, min(turn), max(turn), count(*) FROM jobs
WHERE status = 'queued' AND turn > 0
GROUP BY type, priority, owner
