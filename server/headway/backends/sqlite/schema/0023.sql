-- The words by which lists find jobs: those of a label, and of the last message of a job that has ended.

CREATE TABLE job_words (
    owner  TEXT NOT NULL,
    word   TEXT NOT NULL,
    job_id TEXT NOT NULL,
    PRIMARY KEY (owner, word, job_id)
) STRICT, WITHOUT ROWID;

-- `words_of` is the server's: it takes texts as bytes, because damaged ones may not be UTF-8.
INSERT OR IGNORE INTO job_words
SELECT jobs.owner, said.value, jobs.id
FROM jobs, json_each(
    words_of(CAST(jobs.label AS BLOB), CAST(iif(jobs.completed_at IS NULL, NULL, jobs.message) AS BLOB))
) AS said
WHERE (jobs.label IS NOT NULL OR jobs.message IS NOT NULL)
  AND typeof(jobs.owner) = 'text' AND typeof(jobs.id) = 'text'
ORDER BY 1, 2, 3;
