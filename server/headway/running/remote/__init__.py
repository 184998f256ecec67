"""Workers elsewhere, which do jobs over HTTP: those that ask for one, and the leases of those that have one.

The engine claims, stops and records their attempts like any other; only what performs them is not here.
"""
