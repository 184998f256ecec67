"""Process settings at start: the limit of open files, and garbage collection."""

import gc
import resource
from contextlib import suppress

from ..settings import Settings

GC_THRESHOLDS = (5_000, 20, 100)
OTHER_FILES = 500
"""Files that are kept open for other things than streams: the record, polls, downloads, handlers."""
SPARE_FILES = 250
"""Those of them that are not connections either."""


def fit_open_files(settings: Settings) -> Settings:
    """Raise the limit of open files as far as allowed, and fit the limits of connections and streams to it.

    A client that is refused gets a response; one whose connection cannot be accepted gets none. Streams never take all
    connections.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # macOS allows less than it reports
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    connections, streams = settings.max_connections, settings.max_streams
    if soft != resource.RLIM_INFINITY:
        connections = min(connections, max(soft - SPARE_FILES, soft // 2))
        streams = min(streams, max(1, soft - OTHER_FILES))
    streams = min(streams, max(1, connections * 9 // 10))
    return settings.model_copy(update={"max_connections": connections, "max_streams": streams})


def calm_garbage_collection() -> None:
    """Exclude the objects made at start from collection, and collect a little less often.

    Measured on submissions: about a tenth more per second. Much higher thresholds cost more, because of the caches.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
