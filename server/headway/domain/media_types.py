"""The media types of files, by their names."""

import mimetypes
from pathlib import PurePath

_SAFE_TYPES = {".md": "text/markdown", ".log": "text/plain", ".sqlite": "application/vnd.sqlite3"}
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


def content_type_of(name: str) -> str:
    """The media type that a file's name suggests; `application/octet-stream` if it suggests none."""
    guessed, encoding = mimetypes.guess_type(f"./{name}")  # "./": a name that begins with "data:" is not a URL
    if encoding is not None:
        return _COMPRESSED.get(encoding, "application/octet-stream")  # data.csv.gz is not a CSV
    return _SAFE_TYPES.get(PurePath(name).suffix.lower()) or guessed or "application/octet-stream"
