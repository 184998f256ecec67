SELECT checkpoint_bytes FROM jobs WHERE id = :id
