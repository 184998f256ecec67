-- Where a handler says that its job's result is. Added columns stand behind the big ones, but this one is nearly
-- always NULL, which the row's header says: nobody reads through a result to learn that (sqlite.org/fileformat2.html).

ALTER TABLE jobs ADD COLUMN result_url TEXT;
