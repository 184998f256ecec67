"""One upload that is kept for a job to come, and the errors of writing it."""

import asyncio
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...domain.uploads import AnnouncedUpload
from ...errors import StoreUnavailableError, UploadSpaceError
from ...ports.reservations import Reservation

DISK_FULL_RETRY_S = 60
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The last one is of a file system whose files have a limit."""


def ignore() -> None:
    """Do not interrupt a request that is about to end by itself."""


class KeptUpload:
    """What is known of an upload, how much of it is durable, and whose turn it is. For the event loop's thread."""

    __slots__ = ("about", "interrupt", "lock", "received_bytes", "reservation", "waiting")

    def __init__(self, about: AnnouncedUpload, reservation: Reservation, received_bytes: int = 0) -> None:
        self.about = about
        self.reservation = reservation
        self.received_bytes = received_bytes
        self.lock = asyncio.Lock()
        """Held by the one request that uses it; by a submission until its job is recorded."""
        self.interrupt: Callable[[], None] = ignore
        """Asks the request that holds the lock to end."""
        self.waiting = 0
        """Requests that want to take over."""


@contextmanager
def writing() -> Iterator[None]:
    """Raises `UploadSpaceError` or `StoreUnavailableError` if the disk does not do what is asked.

    For file operations only: a lost connection is an `OSError` too.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise UploadSpaceError("The disk is full. What has arrived is kept.", DISK_FULL_RETRY_S) from error
        raise StoreUnavailableError(f"the upload cannot be stored: {error.strerror}") from error
