UPDATE jobs SET checkpoint = :checkpoint, checkpoint_bytes = :bytes WHERE id = :id
