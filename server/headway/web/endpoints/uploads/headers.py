"""The headers of tus: read from requests, written into responses."""

import base64
import binascii
import re
from email.utils import format_datetime

from aiohttp import hdrs, web
from multidict import istr

from ....domain.uploads import AnnouncedUpload
from ....service.uploads.resumable import Announcement
from ...problems import Problem
from ...requests.bodies import media_type
from ...requests.storing import clean_names

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,termination"
PART_TYPE = "application/offset+octet-stream"
UNKNOWN_TYPE = "application/octet-stream"

TUS_RESUMABLE, TUS_VERSION = istr("Tus-Resumable"), istr("Tus-Version")
LENGTH, OFFSET, METADATA = istr("Upload-Length"), istr("Upload-Offset"), istr("Upload-Metadata")
EXPIRES = istr("Upload-Expires")
NOT_SUPPORTED = {
    istr("Upload-Defer-Length"): "Announce the length of the file: it is held in the quota.",
    istr("Upload-Concat"): "Uploads cannot be joined: send each file as one upload.",
    istr("Upload-Checksum"): "Checksums of parts are not checked here.",
}
"""What belongs to extensions that are not offered. Ignored, it would seem to have been kept."""
FILENAMES, TYPES = ("filename", "name"), ("filetype", "type", "contentType", "content_type")
"""How stock clients name these two in the metadata."""

MAX_DIGITS = 15
_NUMBER = re.compile(rf"\d{{1,{MAX_DIGITS}}}", re.ASCII)
_METADATA_KEY = re.compile(r"[!-+\--~]{1,200}")
"""ASCII, without spaces and commas."""


def check_version(request: web.Request) -> None:
    """Raises `Problem` for a request of another version of tus, or of no version."""
    if request.headers.get(TUS_RESUMABLE) != VERSION:
        detail = f"Uploads speak tus {VERSION}: send Tus-Resumable: {VERSION}."
        raise Problem("precondition-failed", detail, headers={TUS_VERSION: VERSION})


def check_supported(request: web.Request) -> None:
    """Raises `Problem` for a header of an extension that is not offered."""
    for name, detail in NOT_SUPPORTED.items():
        if name in request.headers:
            raise Problem("malformed-request", f"{name} is not supported. {detail}")


def check_part(request: web.Request) -> None:
    """Raises `Problem` unless the body is part of a file, uncompressed: offsets count the bytes of the file."""
    if media_type(request) != PART_TYPE or hdrs.CONTENT_ENCODING in request.headers:
        raise Problem("unsupported-media-type", f"Send {PART_TYPE}, uncompressed.")


def number(request: web.Request, name: str) -> int:
    """The header's value, a number of bytes. Raises `Problem`."""
    given = request.headers.get(name, "")
    if _NUMBER.fullmatch(given) is None:
        raise Problem("malformed-request", f"{name} must be a number of bytes.")
    return int(given)


def announcement(request: web.Request) -> Announcement:
    """What the client says of the file that it is going to send. Raises `Problem`."""
    length_bytes = number(request, LENGTH)
    given = ",".join(request.headers.getall(METADATA, ()))
    try:
        metadata = parsed(given)
    except ValueError as error:
        raise Problem("malformed-request", f"Upload-Metadata cannot be read: {error}") from None
    filename = next((metadata[name] for name in FILENAMES if metadata.get(name)), "")
    content_type = next((metadata[name] for name in TYPES if metadata.get(name)), UNKNOWN_TYPE)
    return Announcement(length_bytes, *clean_names(filename, content_type), given)


def parsed(metadata: str) -> dict[str, str]:
    """Keys and values: pairs with commas between them, each a key and, in Base64, its value. Raises `ValueError`."""
    found: dict[str, str] = {}
    for pair in metadata.split(",") if metadata.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if _METADATA_KEY.fullmatch(key) is None:
            raise ValueError("a key must be ASCII, without spaces or commas")
        if key in found:
            raise ValueError(f"the key {key} is given twice")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            raise ValueError(f"the value of {key} must be Base64") from None
    return found


def expires(upload: AnnouncedUpload) -> dict[str, str]:
    """When the upload will be gone, as an HTTP date (RFC 9110, 5.6.7)."""
    return {EXPIRES: format_datetime(upload.expires_at, usegmt=True)}
