"""Use cases of workers elsewhere: they claim jobs, report, and say how these ended."""
