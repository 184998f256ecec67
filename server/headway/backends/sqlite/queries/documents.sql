SELECT
    CASE WHEN typeof(input) = 'text' AND json_valid(input) THEN input END,
    CASE WHEN typeof(result) = 'text' AND json_valid(result) THEN result END,
    result IS NOT NULL
FROM jobs WHERE id = :id AND :caller IN (owner, '*')
