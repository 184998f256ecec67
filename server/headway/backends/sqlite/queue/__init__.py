"""The queue: how jobs join it, get their turns, and are claimed. What else is done to jobs is in `operations`."""
