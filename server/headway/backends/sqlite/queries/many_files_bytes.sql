SELECT coalesce(sum(CAST(json_extract(file.value, '$[1]') AS INTEGER)), 0)
FROM output_files, json_each(iif(json_valid(files), files, '[]')) AS file
WHERE job_id = :job_id AND file.type = 'array'
