"""Children forked from nurseries, as the server sees them: the keeper, its nurseries, and their children. Linux only.

What runs in those processes is in `processes/nursery`.
"""
