DELETE FROM jobs WHERE rowid = :row RETURNING {kept}
