SELECT 1 FROM gone_receivers WHERE owner = :owner AND url = :url AND at >= :since
