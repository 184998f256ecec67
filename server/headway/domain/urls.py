"""URLs that clients give and the server sends requests to: checked before anything is looked up."""

import re

from yarl import URL

from ..errors import UrlRefusedError
from .addresses import ALLOW_SETTING, AllowList

MAX_URL_CHARS = 2_048
MAX_HOST_CHARS = 253
"""RFC 1035, 2.3.4, as text."""


_AUTHORITY = re.compile(r"https?://(?:\[[0-9a-f:.%]+]|[^][:/?#]+)(?::[0-9]*)?(?:[/?#].*)?", re.IGNORECASE)
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.ASCII)
_NUMBER_AT_THE_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.ASCII)
"""What the URL standard, and `inet_aton`, would read as an IPv4 address: https://url.spec.whatwg.org/#ends-in-a-number-checker"""


def check_url(url: str, allowed: AllowList) -> str:
    """The URL as it will be requested: normalised, without its fragment. Looks nothing up.

    Raises `UrlRefusedError` if it is no plain http(s) URL, or names an address that no request goes to.
    """
    if len(url) > MAX_URL_CHARS:
        raise UrlRefusedError(f"The URL is longer than {MAX_URL_CHARS:,} characters.")
    if not url.isprintable() or "\\" in url or " " in url:
        raise UrlRefusedError("The URL has a space, a backslash or an invisible character in it.")
    parsed = _parsed(url)
    host, port = parsed.raw_host or "", parsed.port or 0
    if port == 0:
        raise UrlRefusedError("The URL's port must be 1 to 65535.")
    if ":" in host or _NUMBER_AT_THE_END.fullmatch(host):
        _check_literal(host, port, allowed)
    else:
        _check_name(host, port, allowed)
    normalised = str(parsed.with_fragment(None))
    if len(normalised) > MAX_URL_CHARS:
        raise UrlRefusedError(f"The URL is longer than {MAX_URL_CHARS:,} characters once it is encoded.")
    return normalised


def _parsed(url: str) -> URL:
    """By the parser that the request will be made with, so that there is one opinion on which part is the host."""
    scheme, separator, rest = url.partition("://")
    if scheme.lower() not in ("http", "https") or not separator:
        raise UrlRefusedError("The URL must begin with https:// or http://.")
    if "@" in re.split(r"[/?#]", rest, maxsplit=1)[0]:
        raise UrlRefusedError("The URL must not hold a user name or password.")
    if not _AUTHORITY.fullmatch(url):
        raise UrlRefusedError("The URL's host or port cannot be read.")
    try:
        parsed = URL(url)
        readable = parsed.host is not None  # raises for a label that no name is encoded as: 'xn--'
    except ValueError:
        readable = False
    if not readable:
        raise UrlRefusedError("The URL's host or port cannot be read.")
    return parsed


def _check_literal(host: str, port: int, allowed: AllowList) -> None:
    if "%" in host:
        raise UrlRefusedError("The URL's address must not have a zone.")
    try:
        what = allowed.refusal(host, port)
    except ValueError:
        raise UrlRefusedError(
            "The URL's IP address must have its usual form, like 8.8.8.8 or [2001:4860::1]."
        ) from None
    if what is not None:
        raise UrlRefusedError(not_public(f"The URL's address is {what}"))


def _check_name(host: str, port: int, allowed: AllowList) -> None:
    if len(host) > MAX_HOST_CHARS or not _NAME.fullmatch(host):
        raise UrlRefusedError("The URL's host is no name and no IP address.")
    # RFC 6761, 6.3: whatever DNS says, these are the machine itself.
    if f".{host}".rstrip(".").endswith(".localhost") and not any(
        allowed.excepts(loopback, port) for loopback in ("127.0.0.1", "::1")
    ):
        raise UrlRefusedError(not_public("The URL's host is this machine"))


def not_public(fact: str) -> str:
    return (
        f"{fact}, and requests go to public addresses only. Use a public one, "
        f"or ask the server's operator for an exception ({ALLOW_SETTING})."
    )
