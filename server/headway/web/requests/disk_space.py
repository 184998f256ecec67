"""Refuses a body that would leave less free space than the server keeps."""

from aiohttp import web

from ...ports.files import Uploads
from ...settings import Settings
from ..keys import FILES, SETTINGS
from ..problems import Problem

FULL_DISK_RETRY_S = 60
FREE_SPACE_MAX_AGE_S = 0.1


def refuse_when_disk_is_full(request: web.Request) -> None:
    """Raises `Problem` if this body, as far as its length is known, would leave less space than is to be left."""
    check_space(request.app[FILES], request.app[SETTINGS], request.content_length or 0, FREE_SPACE_MAX_AGE_S)


def check_space(files: Uploads, settings: Settings, more_bytes: int, max_age_s: float = 0.0) -> None:
    """Raises `Problem` if `more_bytes` would leave less space than is to be left, as it was `max_age_s` ago."""
    if settings.min_free_bytes and files.free_bytes(max_age_s) - more_bytes < settings.min_free_bytes:
        detail = f"The server keeps {settings.min_free_bytes:,} bytes of its disk free."
        raise Problem("disk-full", detail, retry_after_s=FULL_DISK_RETRY_S)
