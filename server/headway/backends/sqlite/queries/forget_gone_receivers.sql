DELETE FROM gone_receivers WHERE at <= :before
