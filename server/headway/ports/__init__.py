"""What the rooms promise each other, as small protocols. Backends, `files` and others implement them.

Implementations do not belong here. Every promise also holds for several server processes on one record, so no method
may assume that its caller sees only its own process. Instants are whole milliseconds, as `clock.utc_now` gives them.
"""
