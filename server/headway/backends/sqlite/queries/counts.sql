SELECT owner, type, status, jobs FROM counts WHERE jobs > 0
