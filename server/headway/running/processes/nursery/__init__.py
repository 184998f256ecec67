"""Keeper and nursery: single-threaded processes that have the job modules loaded, and fork a child for each attempt.

What runs in those processes is here; how the server sees them is outside. Nothing here starts a thread or an event loop
or runs a handler; a nursery of one type calls its author's factories first. Linux only.
"""

GENERAL = "-"
"""The name of the nursery that all types' children come from, unless they have one of their own, of the type's name."""
