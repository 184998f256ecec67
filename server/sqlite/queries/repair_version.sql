UPDATE jobs SET version = max(version, :version) WHERE id = :id
