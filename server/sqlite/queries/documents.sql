SELECT input, result FROM jobs WHERE id = :id AND owner = :owner
