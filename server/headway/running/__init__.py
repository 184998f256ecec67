"""Running claimed jobs: the engine claims them, the executor carries each attempt to its recorded outcome.

The queue and every outcome are in the store; this room holds only what runs now. SQL and HTTP do not belong here, nor
do the rules of what becomes of a failed or interrupted job, which are in `domain/outcomes`.
"""
