"""A body that is a file itself, for job types whose input is one file: `curl --data-binary @x.csv`."""

import warnings
from collections.abc import Callable
from pathlib import Path

from aiohttp import content_disposition_filename, hdrs, parse_content_disposition, web

from ...authoring.job_types import JobType
from ...settings import Settings
from .bodies import JSON_TYPE, uncounted
from .content import content_of
from .multipart import FORM_TYPE, Body
from .storing import described, store_file


def raw_field(sent_as: str, job_type: JobType | None) -> str | None:
    """The field that a body of this media type is the file of; `None` if it is none.

    It is one if its media type is neither JSON nor a form, and the type has one file field and needs nothing else.
    """
    if job_type is None or sent_as in ("", JSON_TYPE, FORM_TYPE):
        return None
    return job_type.only_upload


async def read_raw(
    request: web.Request,
    settings: Settings,
    incoming: Path | None,
    field: str,
    check_space: Callable[[int], None] = uncounted,
    *,
    hashing: bool = False,
) -> Body:
    """The body as the file of `field`, durably in `incoming`. The parameters are those of `read_multipart`."""
    most_bytes = settings.max_upload_bytes
    path = None if incoming is None else incoming / field
    read = content_of(request, most_bytes).read
    size_bytes, total = await store_file(read, path, most_bytes, check_space, hashing=hashing)
    upload = described(field, _filename(request) or field, request.headers[hdrs.CONTENT_TYPE], size_bytes)
    return Body({}, {field: upload}, {} if total is None else {field: total})


def _filename(request: web.Request) -> str | None:
    """What `Content-Disposition` calls the file (RFC 6266); `None` if it is missing or malformed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # aiohttp's way to say that it is malformed
        _, parameters = parse_content_disposition(request.headers.get(hdrs.CONTENT_DISPOSITION))
        return content_disposition_filename(parameters)
