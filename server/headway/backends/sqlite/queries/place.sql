SELECT turn, coalesce(key_id, '') FROM jobs WHERE id = :id
