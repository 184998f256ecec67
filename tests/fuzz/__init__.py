"""Fuzzing: `python -m tests.fuzz parsers --seconds 300` and `python -m tests.fuzz http --seconds 300`."""
