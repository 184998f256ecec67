"""The endpoints, a module per resource. Each reads a request, calls a use case and answers with what comes back."""
