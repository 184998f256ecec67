"""Where jobs are recorded. Each backend implements the ports in a folder of its own, and none knows another.

`memory` is what every backend keeps at hand, `bells` is how the rooms of one process are notified.
"""
