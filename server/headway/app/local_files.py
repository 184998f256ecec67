"""Uploads from files on this machine, for callers that submit without HTTP."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..domain.jobs import MAX_FILENAME_CHARS, UploadedFile
from ..domain.media_types import content_type_of
from ..errors import InvalidError
from ..text import clean_text
from ..validation import pointer_token

COPY_BYTES = 1024 * 1024


class Copied(NamedTuple):
    """Uploads by field: what is known of each, and its SHA-256 in hexadecimal."""

    uploads: dict[str, UploadedFile]
    sums: dict[str, str]


def copy_into(incoming: Path, files: Mapping[str, Path], most_bytes: int) -> Copied:
    """Copy each file durably into a submission's directory, under its field's name. Blocks.

    Raises `InvalidError` for a name that no field can have, which could be a path, and if the files have more than
    `most_bytes` in all; and `OSError`. The caller removes `incoming` then.
    """
    copied, left = Copied({}, {}), most_bytes
    for field, source in files.items():
        if not field.isidentifier():
            raise InvalidError([(f"/{pointer_token(field)}", "is not a file field")])
        size_bytes, copied.sums[field] = _copy(source, incoming / field, left)
        left -= size_bytes
        if left < 0:
            raise InvalidError([(f"/{field}", f"is too large: a job's files have at most {most_bytes:,} bytes in all")])
        filename = clean_text(source.name, MAX_FILENAME_CHARS)
        copied.uploads[field] = UploadedFile(field, filename, content_type_of(filename), size_bytes)
    return copied


def _copy(source: Path, target: Path, most_bytes: int) -> tuple[int, str]:
    """Copy a file, but not much more than `most_bytes`: its size and SHA-256."""
    size_bytes, sha256 = 0, hashlib.sha256()
    with source.open("rb") as reading, target.open("xb") as writing:
        while size_bytes <= most_bytes and (chunk := reading.read(COPY_BYTES)):
            size_bytes += writing.write(chunk)
            sha256.update(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    return size_bytes, sha256.hexdigest()
