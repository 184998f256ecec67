"""The audit trail in SQLite: its rows, and the port that reads and adds them."""
