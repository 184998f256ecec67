-- The last delivery that a page looks at, and the one behind it.
SELECT id FROM deliveries WHERE {whose} AND id < :before ORDER BY id DESC LIMIT 2 OFFSET :look_at - 1
