SELECT owner, count(*) FROM deliveries WHERE taken = 1 GROUP BY owner
