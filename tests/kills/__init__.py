"""A server with every kind of job, killed at random moments under load: whatever it has acknowledged holds.

`python -m tests.kills --kills 200` is the long run; `test_kills.py` is a short one.
"""
