SELECT {delivery} FROM deliveries
WHERE {whose} AND id < :before AND id >= :last
AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
AND (:events IS NULL OR event IN (SELECT value FROM json_each(:events)))
AND (:hosts IS NULL OR host IN (SELECT value FROM json_each(:hosts)))
ORDER BY id DESC LIMIT :limit
