"""Changes to many jobs, which one request asks for."""
