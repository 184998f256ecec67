"""Which server, and with which key: from arguments, or from `HEADWAY_URL` and `HEADWAY_API_KEY`."""

import os
import re
from urllib.parse import urlsplit

DEFAULT_URL = "http://127.0.0.1:8080"
"""Where `headway serve` listens."""
_KEY = re.compile(r"[\x21-\x7e]+")
"""What a header can hold (RFC 9110, 11.4), without spaces."""


def server_url(given: str | None) -> str:
    """The URL without a slash at its end. Raises `ValueError`."""
    url = (given or os.environ.get("HEADWAY_URL") or DEFAULT_URL).strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not the URL of a server: it must be like https://jobs.example.com")
    return url


def key_headers(given: str | None) -> dict[str, str]:
    """The header that carries the API key, if there is one. Raises `ValueError`, without the key.

    `None` takes the environment's, an empty text none.
    """
    key = (os.environ.get("HEADWAY_API_KEY", "") if given is None else given).strip()
    if key and not _KEY.fullmatch(key):
        raise ValueError("the API key has characters that no key has")
    return {"Authorization": f"Bearer {key}"} if key else {}
