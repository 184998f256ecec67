"""What a backend keeps in memory about its jobs: counts, snapshots, places in the queue. Bounded."""
