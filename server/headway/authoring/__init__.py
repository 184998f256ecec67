"""What job authors write against: `@job`, contexts, uploads, `Depends`, resources; and how their modules are loaded.

How jobs are stored, run or served over HTTP does not belong here: child processes import this room, so it stays small.
What may be imported from `headway` itself is public; everything else here may move.
"""
