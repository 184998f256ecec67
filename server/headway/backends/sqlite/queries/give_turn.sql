UPDATE jobs SET turn = :turn WHERE id = :id
