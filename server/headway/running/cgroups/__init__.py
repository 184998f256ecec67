"""A cgroup v2 for each process of a `def` job, below the server's own where that is delegated to it.

Processes cannot leave it by becoming daemons, and all of it is killed at once. Who calls this decides when.
"""
