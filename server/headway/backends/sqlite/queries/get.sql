-- By the index alone, so that another's job is not found as quickly as one that there is not.
SELECT {columns} FROM jobs INDEXED BY jobs_by_owner WHERE owner = :caller AND id = :id
