"""Server-sent events: one job's stream, the stream of many jobs, and the fan-out that feeds them."""
