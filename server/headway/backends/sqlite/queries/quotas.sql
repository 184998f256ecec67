SELECT holder, name, jobs, bytes, queued, running FROM quotas
