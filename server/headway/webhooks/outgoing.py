"""Requests to URLs that clients have given: to public addresses only, with responses that are not trusted.

The URL is checked twice. `check_url` rejects what is visibly wrong when it is submitted. But a name's owner decides
what it resolves to, and when, so what counts is the address: it is checked when the name is resolved, and again when a
socket is created for it, before anything is connected.
"""

import asyncio
import os
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

from ..domain.addresses import AllowList
from ..domain.urls import check_url, not_public
from ..errors import HeadwayError, UrlRefusedError
from .connector import GuardedConnector, Lookup, NotPublicError, look_up

MAX_BODY_READ_BYTES = 4_096
BODY_TIMEOUT_S = 1.0
"""Only the status is used. A short body is read, so that its sender does not see a broken connection."""

MAX_HEADER_LINE_BYTES = 8 * 1024
MAX_HEADERS = 64

MAX_RETRY_AFTER_S = 24 * 60 * 60.0

log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    """A receiver's response: its status, redirects included, and its `Retry-After`."""

    status: int
    retry_after_s: float | None


class Unreachable(HeadwayError):  # noqa: N818 - what the receiver is
    """There was no response. `permanent`: there never will be, because the URL is rejected.

    The message is for the client that gave the URL, and contains at most the URL's host.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class Outgoing:
    """Sends requests to URLs that clients have given. One per server, created in its event loop; close it.

    Every request has a connection of its own. Redirects are not followed. No cookies, proxies or credentials of the
    environment are used, and certificates are verified. The caller limits the number of simultaneous requests.
    """

    def __init__(self, allowed: AllowList, *, timeout_s: float = 15.0, lookup: Lookup | None = None) -> None:
        """`timeout_s`: from the look-up of the name to the end of the response's headers."""
        self._allowed = allowed
        self._timeout_s = timeout_s
        self._session = ClientSession(
            connector=GuardedConnector(allowed, lookup or look_up),
            cookie_jar=DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"User-Agent": f"Headway/{_version()}", "Accept": "*/*", "Accept-Encoding": "identity"},
            timeout=ClientTimeout(total=None),  # `post` has its own, which includes the look-up
            read_bufsize=MAX_BODY_READ_BYTES,
            max_line_size=MAX_HEADER_LINE_BYTES,
            max_field_size=MAX_HEADER_LINE_BYTES,
            max_headers=MAX_HEADERS,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send `body` to `url`. Raises `Unreachable`. Cancelled, it leaves no connection open."""
        try:
            checked = check_url(url, self._allowed)  # the allowed addresses may have changed since it was submitted
        except UrlRefusedError as error:
            raise Unreachable(str(error), permanent=True) from None
        return await self._post(checked, body, headers)

    async def close(self) -> None:
        """Abort the requests in progress and close the session."""
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
    """Read the body if it is short and arrives soon; errors in it do not matter."""
    with suppress(TimeoutError, ClientError, OSError):
        async with asyncio.timeout(BODY_TIMEOUT_S):
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
    """The error in our own words: aiohttp's messages quote URLs and bytes that the receiver sent."""
    cause = error.os_error if isinstance(error, ClientConnectorError) else None
    if isinstance(cause, NotPublicError):
        return Unreachable(not_public("The URL's host has an address that is not public"), permanent=True)
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
"""The first match counts."""


def _version() -> str:
    try:
        return version("headway")
    except PackageNotFoundError:  # started from a checkout that is not installed
        return "0"
