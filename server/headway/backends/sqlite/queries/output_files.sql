-- From the row in which the file named `after` is, or would be.
SELECT job_id, first, files FROM output_files
WHERE job_id = :job_id AND first >= coalesce(
    (SELECT max(first) FROM output_files WHERE job_id = :job_id AND first <= :after), ''
)
ORDER BY first LIMIT :rows
