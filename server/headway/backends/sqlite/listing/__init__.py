"""Lists: how their jobs are found, at a cost that does not depend on how many jobs there are."""
