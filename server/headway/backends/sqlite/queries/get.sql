-- By this index, so that another owner's job takes as long as one that does not exist.
SELECT {columns} FROM jobs INDEXED BY jobs_by_owner WHERE owner = :caller AND id = :id
