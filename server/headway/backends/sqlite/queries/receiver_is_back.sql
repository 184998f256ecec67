DELETE FROM gone_receivers WHERE owner = :owner AND url = :url AND at < :asked_at
