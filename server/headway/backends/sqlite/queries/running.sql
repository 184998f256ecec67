SELECT {columns} FROM jobs WHERE status = 'running'
