DELETE FROM jobs WHERE id = :id RETURNING {kept}
