"""What every backend keeps in memory about its jobs: snapshots, counts, positions in the queue. All of it is bounded.

Nothing here reads or writes a record: backends call it, and give it what they have read.
"""
