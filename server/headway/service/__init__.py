"""The use cases, for a `Caller` and without HTTP: what the server does, whichever way a request came in.

HTTP endpoints, commands, schedules, handlers and embedding programs all come through here. Nothing in this room
imports aiohttp, names an adapter or knows a header.
"""
