-- The writer maintains the counts, once for each transaction: the triggers took a fifth of the time of an insert.

DROP TRIGGER jobs_counted;
DROP TRIGGER jobs_recounted;
DROP TRIGGER jobs_discounted;
