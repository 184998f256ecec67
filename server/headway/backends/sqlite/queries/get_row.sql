SELECT {columns} FROM jobs WHERE rowid = :row
