SELECT {columns} FROM jobs WHERE id = :id AND :caller IN (owner, '*')
