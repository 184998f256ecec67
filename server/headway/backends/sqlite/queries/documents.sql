SELECT input, result FROM jobs WHERE id = :id AND :caller IN (owner, '*')
