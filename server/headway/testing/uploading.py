"""Uploads for handlers under test: from bytes, or from a file."""

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..authoring.job_types import JobType
from ..authoring.uploads import Upload
from ..domain.jobs import UploadedFile
from ..domain.media_types import content_type_of
from ..validation import as_json_object

_numbers = count(1)


def upload(content: bytes | PathLike[str], filename: str | None = None, content_type: str | None = None) -> Upload:
    """An upload for a field of an input model: of these bytes, or of the file at a path.

    `filename` is the client's name for it; by default the path's, or `upload`. `content_type` is by default what the
    name suggests. The bytes are kept until the process ends.
    """
    if isinstance(content, bytes):
        path = _folder() / f"{next(_numbers)}"
        path.write_bytes(content)
        name = filename or "upload"
    else:
        path = Path(content)
        name = filename or path.name
    return Upload(path, name, content_type or content_type_of(name), path.stat().st_size)


def without_uploads(
    job_type: JobType, input: BaseModel | Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Upload]]:
    """The input as a client would send it: its JSON, and its files. Raises `InvalidError` if that is no JSON."""
    if isinstance(input, BaseModel):
        found = {name: getattr(input, name, None) for name in job_type.uploads}
        uploads = {name: value for name, value in found.items() if isinstance(value, Upload)}
        fields = {name: value for name, value in as_json_object(input).items() if name not in found}
        return fields, uploads
    fields, uploads = dict(input or {}), {}
    for name in job_type.uploads.keys() & fields.keys():
        value = fields[name]
        if isinstance(value, Upload | bytes | PathLike):
            uploads[name] = value if isinstance(value, Upload) else upload(value)
            del fields[name]
    return as_json_object(fields), uploads


def place(uploads: Mapping[str, Upload], incoming: Path) -> dict[str, UploadedFile]:
    """Copy the files into a submission's directory."""
    for field, file in uploads.items():
        shutil.copyfile(file.path, incoming / field)
    return {
        field: UploadedFile(field, file.filename, file.content_type, file.size_bytes) for field, file in uploads.items()
    }


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="headway-uploads-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
