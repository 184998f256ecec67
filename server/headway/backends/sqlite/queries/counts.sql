SELECT owner, key_id, type, status, jobs, bytes FROM counts WHERE jobs > 0 OR bytes <> 0
