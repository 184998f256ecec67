SELECT jobs, bytes, queued, running FROM quotas WHERE holder = :holder AND name = :name
