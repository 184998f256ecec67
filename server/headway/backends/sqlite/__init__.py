"""The embedded record: one SQLite file, one writer, snapshots in memory."""
