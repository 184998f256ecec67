"""Handlers in processes of their own: the server's side, the child's side and the channel between them."""
