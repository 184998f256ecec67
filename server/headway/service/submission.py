"""What a client asks for when it submits a job: one object, however the request came in."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ..domain.jobs import UploadedFile
from ..ports.jobs import Hold
from .idempotency import fingerprint_in_pieces
from .options import SubmitOptions

_DEFAULTS = SubmitOptions()
_NONE: Mapping[str, Any] = MappingProxyType({})


class Submission(NamedTuple):
    """A job to be made: typed or enveloped, from JSON or a form, by HTTP, a command or an embedding program."""

    type: str
    fields: Mapping[str, Any]
    """The input, without its uploads."""
    options: SubmitOptions = _DEFAULTS
    uploads: Mapping[str, UploadedFile] = _NONE
    """What is known of each uploaded file, by its field."""
    incoming: Path | None = None
    """The directory that holds the uploads until the job is accepted. The caller removes what is left of it."""
    sums: Mapping[str, str] = _NONE
    """The SHA-256 of each upload, in hexadecimal. Needed with an idempotency key alone."""
    pointer: str = ""
    """Where the input stands in what the client sent: the JSON pointers of errors begin with it."""
    held: Hold | None = None
    """The room in quotas that the uploads hold."""

    async def fingerprint(self) -> str:
        """The request as an idempotency key identifies it: files count by their sums, not by their names."""
        options = self.options.model_dump(
            mode="json", by_alias=False, include=set(SubmitOptions.model_fields), exclude_defaults=True
        )
        return await fingerprint_in_pieces(
            {"type": self.type, "input": self.fields, "options": options, "files": dict(self.sums)}
        )
