"""URLs that clients choose and the server sends requests to. They are checked before any name is resolved."""

import re

from yarl import URL

from ..errors import UrlRefusedError
from .addresses import ALLOW_SETTING, AllowList

MAX_URL_CHARS = 2_048
MAX_HOST_CHARS = 253
"""The longest name (RFC 1035, 2.3.4), as text."""


_AUTHORITY = re.compile(r"https?://(?:\[[0-9a-f:.%]+]|[^][:/?#]+)(?::[0-9]*)?(?:[/?#].*)?", re.IGNORECASE)
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.ASCII)
_NUMBER_AT_THE_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.ASCII)
"""What the URL standard and `inet_aton` would read as an IPv4 address: https://url.spec.whatwg.org/#ends-in-a-number-checker"""


def check_url(url: str, allowed: AllowList) -> str:
    """The URL as it will be requested: normalised, without its fragment. Resolves no name.

    Raises `UrlRefusedError` if it is not a plain http(s) URL, or has an address that no request may go to.
    """
    if len(url) > MAX_URL_CHARS:
        raise UrlRefusedError(f"The URL is longer than {MAX_URL_CHARS:,} characters.")
    if not url.isprintable() or "\\" in url or " " in url:
        raise UrlRefusedError("The URL contains a space, a backslash or an invisible character.")
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
    """Parsed by the library that will send the request, so that both agree on which part is the host."""
    scheme, separator, rest = url.partition("://")
    if scheme.lower() not in ("http", "https") or not separator:
        raise UrlRefusedError("The URL must begin with https:// or http://.")
    if "@" in re.split(r"[/?#]", rest, maxsplit=1)[0]:
        raise UrlRefusedError("The URL must not contain a user name or password.")
    if not _AUTHORITY.fullmatch(url):
        raise UrlRefusedError("The URL's host or port cannot be read.")
    try:
        parsed = URL(url)
        readable = parsed.host is not None  # raises for a label that encodes no name, like 'xn--'
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
        raise UrlRefusedError("The URL's host is neither a name nor an IP address.")
    # RFC 6761, 6.3: these are the machine itself, whatever DNS says.
    if f".{host}".rstrip(".").endswith(".localhost") and not any(
        allowed.excepts(loopback, port) for loopback in ("127.0.0.1", "::1")
    ):
        raise UrlRefusedError(not_public("The URL's host is this machine"))


def not_public(fact: str) -> str:
    """The message for an address that is not public."""
    return (
        f"{fact}, and requests go to public addresses only. Use a public one, "
        f"or ask the server's operator for an exception ({ALLOW_SETTING})."
    )
