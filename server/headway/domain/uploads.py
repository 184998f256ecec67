"""Resumable uploads: files that clients send in parts, before they submit the job that reads them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

KEPT = timedelta(hours=24)
"""How long an upload is kept after it was announced, complete or not."""
MOST_PER_OWNER = 1_000
"""Uploads that no job has taken yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncedUpload:
    """What is known of an upload before its bytes arrive. It does not change, apart from `job_id`."""

    id: str
    owner: str
    key_id: str | None
    """The API key that it was announced with: its quota counts the upload too."""
    length_bytes: int
    metadata: str
    """What the client says about the file, as tus encodes it; it is sent back as it is."""
    filename: str
    content_type: str
    created_at: datetime
    job_id: str | None = None
    """The job that is about to take the bytes. After a crash the upload is used up if that job was recorded."""

    @property
    def expires_at(self) -> datetime:
        return self.created_at + KEPT
