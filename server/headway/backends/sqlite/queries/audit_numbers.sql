SELECT count(*), min(seq), max(seq) FROM audit
