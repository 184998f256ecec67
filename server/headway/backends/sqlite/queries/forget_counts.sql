-- Those of the owners of these jobs.
DELETE FROM counts WHERE owner IN (SELECT owner FROM jobs WHERE rowid IN (SELECT value FROM json_each(:rows)))
