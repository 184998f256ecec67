"""The private names of aiohttp and aiohttp-sse that this package uses.

They may change in any release, so both requirements have an upper limit. To raise it: run the tests with the new
release, read what became of these names, then change `pyproject.toml`.
"""

from collections.abc import Mapping

PRIVATE_NAMES: Mapping[str, tuple[str, ...]] = {
    # A connection counts its requests, knows whether it is idle and since when, how long it lingers, and whether
    # reading is paused.
    "RequestHandler": (
        "_lingering_time",
        "_messages",
        "_next_keepalive_close_time",
        "_reading_paused",
        "_request_count",
        "_waiter",
    ),
    # The server is made again, with the same arguments and connections of our own class.
    "AppRunner": ("_make_server",),
    "Server": ("_kwargs", "_loop"),
    # A request is handled without the application's own handler, which sets where it was routed to.
    "Request": ("_match_info",),
    # The kernel drops a stream's connection when its client reads nothing.
    "EventSourceResponse": ("_set_tcp_user_timeout",),
}
"""By class of `aiohttp.web` or `aiohttp_sse`."""
