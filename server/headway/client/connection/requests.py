"""A request as data: what the transports send, and how often it may be sent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

FilePart = tuple[str | None, Any, str]
"""File name (`None` if the part is not a file), content (bytes or an open file), media type."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to the server. `path` begins with a slash and is already quoted; durations are seconds."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    """A JSON body."""
    parts: Callable[[], Mapping[str, FilePart]] | None = None
    """Opens the parts of a form, anew for each try; the transport closes them."""
    read_timeout_s: float = 60.0
    """How long the server may be silent."""


def job_path(job_id: str, *rest: str) -> str:
    """The path of a job, or of something below it; each argument is one segment."""
    return "/jobs/" + "/".join(quote(segment, safe="") for segment in (job_id, *rest))
