"""`def` handlers in processes of their own: the server's side, the child's side, and the channel between them.

What a handler's end means for its job is decided outside, in `running`. The child's side (`child`, `reporter`,
`channel`, `messages`) loads only what a handler needs.
"""
