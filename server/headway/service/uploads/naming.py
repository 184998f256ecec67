"""How a submission names an upload: by its id, or by the URL that it has, in place of the file."""

import re
from collections.abc import Mapping
from typing import Any

from ...authoring.job_types import JobType
from ...domain.ids import JOB_ID

MAX_NAME_CHARS = 2_000
NAME_PATTERN = rf"^(.*/uploads/)?{JOB_ID}$"
"""For documents: also what `named_uploads` accepts, within the limit."""

_NAME = re.compile(rf"(?:.*/uploads/)?({JOB_ID})")


def named_uploads(job_type: JobType, fields: Mapping[str, Any]) -> dict[str, str]:
    """The ids of the uploads that the input names, by its file fields. What is no name of one is left out."""
    named: dict[str, str] = {}
    for field in job_type.uploads:
        value = fields.get(field)
        if isinstance(value, str) and len(value) <= MAX_NAME_CHARS and (found := _NAME.fullmatch(value)) is not None:
            named[field] = found[1]
    return named
