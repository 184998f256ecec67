"""What operators do to a server: commands, the socket that carries them, retention, and the limits of the process.

What a client of the API can do belongs in `service`; how commands are typed and printed belongs in `cli`.
"""
