-- One seek for each word, however many jobs have it.
WITH RECURSIVE words (word) AS (
    SELECT min(word) FROM job_words WHERE owner = :owner AND word >= :first AND word < :end
    UNION ALL
    SELECT (SELECT min(said.word) FROM job_words AS said WHERE said.owner = :owner AND said.word > words.word AND said.word < :end)
    FROM words WHERE words.word IS NOT NULL
)
SELECT word FROM words WHERE word IS NOT NULL LIMIT :most
