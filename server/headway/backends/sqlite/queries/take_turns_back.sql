-- Interrupted jobs stay in front, and parked ones stay parked.
UPDATE jobs SET turn = NULL WHERE status = 'queued' AND type = :type AND turn > 0
