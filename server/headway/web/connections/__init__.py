"""Connections: their number, how long a request's head and body may take, how slowly a response may be read.

What a client may do once its request has been read belongs in `web.identity`. The private names of aiohttp that this
takes are listed in `aiohttp_internals`.
"""
