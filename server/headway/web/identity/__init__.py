"""Authentication and authorization: keys, sessions, tickets, origins, host names, and rate limits.

How keys are stored belongs in the backends; which job a caller may see is decided in `service`.
"""
