-- Results that are too large for the row of their job, whose `result` is NULL then, while `result_bytes` is not. Parts
-- that belong to no ended attempt are of one that is about to end, or on their way out.

CREATE TABLE result_parts (
    job_id  TEXT    NOT NULL,
    attempt INTEGER NOT NULL,
    number  INTEGER NOT NULL,                        -- from 0
    crc32   INTEGER NOT NULL,                        -- of the content
    content BLOB    NOT NULL,                        -- UTF-8, cut anywhere
    PRIMARY KEY (job_id, attempt, number)
) STRICT;
