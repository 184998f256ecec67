"""The way to a server: requests as data, the two transports, and a session that sends again what may be sent again.

What is asked of a server, and what it says of jobs, does not belong here.
"""
