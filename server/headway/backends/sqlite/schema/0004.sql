-- The URL that a handler set for its result. An added column comes after the large ones. This one is nearly always
-- NULL, which SQLite reads from the row's header, without reading through a result (sqlite.org/fileformat2.html).

ALTER TABLE jobs ADD COLUMN result_url TEXT;
