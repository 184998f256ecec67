-- Names and values that a client gave a job. The column comes after the large ones, like the webhook in 0007.

ALTER TABLE jobs ADD COLUMN metadata TEXT;           -- JSON; NULL if there are none
