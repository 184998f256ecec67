-- Jobs of an owner or a key that runs as many as it may are parked: their turn is negative, so that claims do not read
-- them. When a place is free, the next is found by this index.

CREATE INDEX jobs_parked ON jobs (owner, key_id, type, priority DESC, turn, run_at, id)
WHERE status = 'queued' AND turn < 0;
