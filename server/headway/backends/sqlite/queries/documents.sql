SELECT
    CASE WHEN typeof(input) = 'text' AND json_valid(input) THEN input END,
    CASE WHEN :with_result AND typeof(result) = 'text' AND json_valid(result) THEN result END,
    :with_result AND result IS NOT NULL,
    :with_result AND result IS NULL AND result_bytes IS NOT NULL -- then it is in parts
FROM jobs WHERE id = :id AND :caller IN (owner, '*')
