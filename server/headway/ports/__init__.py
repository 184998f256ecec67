"""The seams: what the rooms promise each other, as small protocols. Adapters implement them.

No adapter and no implementation belongs here. Every promise holds for several server processes on one record too,
so no method may assume that its caller sees only its own process.
"""
