"""Requests that the server makes because a client asked for them: to public addresses only, and trusting no answer.

The URL is looked at twice. `check_url` refuses what is wrong on its face, when it is submitted. Whoever owns a name
decides what it resolves to, and when, so what counts is the address: the answers of DNS are looked at, and once more
the one that a socket is made for. Nothing is connected to before that.
"""

import asyncio
import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import structlog
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
)
from yarl import URL

from .addresses import ALLOW_SETTING, AllowList
from .connections import GuardedConnector, Lookup, NotPublicError, look_up
from .errors import HeadwayError, UrlRefusedError

MAX_URL_CHARS = 2_048
MAX_HOST_CHARS = 253
"""RFC 1035, 2.3.4, as text."""

MAX_BODY_READ_BYTES = 4_096
BODY_PATIENCE_S = 1.0
"""An answer's status is all that is wanted. A short body is read, so that its sender sees no broken connection."""

MAX_HEADER_LINE_BYTES = 8 * 1024
MAX_HEADERS = 64

MAX_RETRY_AFTER_S = 24 * 60 * 60.0

log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    """What a receiver said: its status, redirects included, and how long it wants to be left alone."""

    status: int
    retry_after_s: float | None


class Unreachable(HeadwayError):  # noqa: N818 - what the receiver is
    """There is no answer. `permanent`: nor will there ever be, this URL is refused.

    The message is for whoever gave the URL; of the URL, it holds the host at most.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


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
        raise UrlRefusedError(_not_public(f"The URL's address is {what}"))


def _check_name(host: str, port: int, allowed: AllowList) -> None:
    if len(host) > MAX_HOST_CHARS or not _NAME.fullmatch(host):
        raise UrlRefusedError("The URL's host is no name and no IP address.")
    # RFC 6761, 6.3: whatever DNS says, these are the machine itself.
    if f".{host}".rstrip(".").endswith(".localhost") and not any(
        allowed.excepts(loopback, port) for loopback in ("127.0.0.1", "::1")
    ):
        raise UrlRefusedError(_not_public("The URL's host is this machine"))


def _not_public(fact: str) -> str:
    return (
        f"{fact}, and requests go to public addresses only. Use a public one, "
        f"or ask the server's operator for an exception ({ALLOW_SETTING})."
    )


class Outgoing:
    """Sends requests to URLs that clients have given. One per server, made inside its loop; close it.

    Every request has a connection of its own. Redirects are answers like any other: nothing follows them. There are
    no cookies, no proxies and no credentials of the environment, and certificates are verified. How many requests are
    made at once is the caller's affair.
    """

    def __init__(self, allowed: AllowList, *, timeout_s: float = 15.0, lookup: Lookup | None = None) -> None:
        """`timeout_s`: from the look-up of the name to the last of an answer's headers."""
        self._allowed = allowed
        self._timeout_s = timeout_s
        self._session = ClientSession(
            connector=GuardedConnector(allowed, lookup or look_up),
            cookie_jar=DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"User-Agent": f"Headway/{_version()}", "Accept": "*/*", "Accept-Encoding": "identity"},
            timeout=ClientTimeout(total=None),  # `post` has its own, which takes in the look-up
            read_bufsize=MAX_BODY_READ_BYTES,
            max_line_size=MAX_HEADER_LINE_BYTES,
            max_field_size=MAX_HEADER_LINE_BYTES,
            max_headers=MAX_HEADERS,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send `body` to `url`. Raises `Unreachable`. Cancelled, it leaves no connection open."""
        try:
            checked = check_url(url, self._allowed)  # the exceptions may be others than when it was submitted
        except UrlRefusedError as error:
            raise Unreachable(str(error), permanent=True) from None
        return await self._post(checked, body, headers)

    async def close(self) -> None:
        """Break off what is under way and let go of everything."""
        await self._session.close()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._session.post(
                    URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
                )
        except TimeoutError:
            raise Unreachable(f"There was no answer within {self._timeout_s:g} s.") from None
        except (ClientError, OSError, ValueError, RuntimeError) as error:
            raise _unreachable(error) from None
        try:
            await _read_a_little(response)
        finally:
            response.close()
        return Answer(response.status, retry_after_s(response.headers.get("Retry-After"), datetime.now(UTC)))


async def _read_a_little(response: ClientResponse) -> None:
    """The body, if it is short and comes soon. What is wrong with it is of no interest."""
    with suppress(TimeoutError, ClientError, OSError):
        async with asyncio.timeout(BODY_PATIENCE_S):
            left_bytes = MAX_BODY_READ_BYTES
            while left_bytes > 0 and (chunk := await response.content.read(left_bytes)):
                left_bytes -= len(chunk)


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds from a `Retry-After` header (RFC 9110, 10.2.3), at most a day; what cannot be read is None."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return min(max(0.0, (at - now).total_seconds()), MAX_RETRY_AFTER_S)


def _unreachable(error: Exception) -> Unreachable:
    """In words of ours: aiohttp's texts quote URLs, and bytes that the receiver sent."""
    cause = error.os_error if isinstance(error, ClientConnectorError) else None
    if isinstance(cause, NotPublicError):
        return Unreachable(_not_public("The URL's host has an address that is not public"), permanent=True)
    text = next((text for of_class, text in _FAULTS if isinstance(error, of_class)), "The request could not be made")
    return Unreachable(f"{text}{_reason(cause)}.")


def _reason(cause: OSError | None) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f" ({cause.verify_message})"
    if cause is None or cause.errno is None or cause.errno <= 0:
        return ""
    return f" ({os.strerror(cause.errno)})"


_FAULTS: tuple[tuple[type[Exception], str], ...] = (
    (ClientConnectorDNSError, "The URL's host could not be found"),
    (ClientConnectorCertificateError, "The certificate of the URL's host is not valid"),
    (ClientConnectorError, "The URL's host could not be connected to"),
    (ServerDisconnectedError, "The connection was closed before there was an answer"),
    (OSError, "The connection was closed before there was an answer"),
    (ClientError, "The answer was not valid HTTP"),
)
"""The first that fits."""


def _version() -> str:
    try:
        return version("headway")
    except PackageNotFoundError:  # started from a checkout that is not installed
        return "0"
