SELECT count(*) FROM deliveries WHERE status = 'pending'
