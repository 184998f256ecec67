"""What an operator does to a server and its record: commands, the socket they arrive by,
retention, process limits.
"""
