-- What a quota was and is.

ALTER TABLE audit ADD COLUMN detail TEXT;            -- nearly always NULL
