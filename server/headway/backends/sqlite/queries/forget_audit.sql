-- From the oldest entry up to the first that is not old: what a clock that was ahead has dated stays until its time.
DELETE FROM audit WHERE seq < (
    SELECT coalesce(min(CASE WHEN at >= :before THEN seq END), max(seq))
    FROM (SELECT seq, at FROM audit ORDER BY seq LIMIT :limit + 1)
)
