"""The endpoints, one module per resource. Each reads a request, calls a use case and returns its result."""
