DELETE FROM quotas WHERE holder = :holder AND name = :name
