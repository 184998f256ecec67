"""The child's side: what runs in a job's process, around its `def` handler. It imports only what a handler needs."""
