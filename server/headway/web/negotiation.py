"""What a client would rather have: weights in `Accept` and in headers like it (RFC 9110, 12.4.2)."""

import re
from functools import lru_cache

from aiohttp import hdrs, web

_ELEMENT = re.compile(r"[ \t]*([^\s,;]+)[ \t]*((?:;[^,;]*)*)")
_WEIGHT = re.compile(r";[ \t]*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)[ \t]*(?=;|$)", re.ASCII | re.IGNORECASE)
_HTML, _JSON = "text/html", ("application/json", "application/*", "*/*")


def prefers_html(request: web.BaseRequest) -> bool:
    """Whether the client would rather have HTML than JSON, as a browser does that opens a URL.

    A client that accepts anything, or both alike, gets JSON.
    """
    accept = request.headers.get(hdrs.ACCEPT)
    return accept is not None and _HTML in accept and _prefers_html(accept)


@lru_cache(maxsize=64)
def _prefers_html(accept: str) -> bool:
    given = weights(accept)
    json = next((given[kind] for kind in _JSON if kind in given), 0.0)
    return given.get(_HTML, 0.0) > json


def weights(header: str) -> dict[str, float]:
    """Each value of the list in lower case, with its weight between 0 and 1: without a valid one, 1."""
    found: dict[str, float] = {}
    for element in header.split(","):
        if matched := _ELEMENT.fullmatch(element):
            weight = _WEIGHT.search(matched[2])
            found[matched[1].lower()] = float(weight[1]) if weight else 1.0
    return found
