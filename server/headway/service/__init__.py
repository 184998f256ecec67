"""The use cases, for a `Caller` and without HTTP: what the server does, whichever way a request came in.

HTTP endpoints, commands, handlers and embedding programs all come through here. They hand in and get back domain
objects, and errors of the one tree in `errors`. Nothing here imports aiohttp, names an adapter or knows a header.
"""
