"""What the process is set to at start: open files, and how often garbage is collected."""

import gc
import resource
from contextlib import suppress

from ..settings import Settings

GC_THRESHOLDS = (5_000, 20, 100)
OTHER_FILES = 500
"""Open files that are no streams: the record, polls, downloads, handlers."""
SPARE_FILES = 250
"""Those of them that are no connections either."""


def fit_open_files(settings: Settings) -> Settings:
    """Let the process open as many files as it may. If that is less than the connections need, there are fewer of
    them, and fewer streams: what is refused gets an answer, a connection that cannot be accepted gets none. Streams
    are never all of the connections.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    connections, streams = settings.max_connections, settings.max_streams
    if soft != resource.RLIM_INFINITY:
        connections = min(connections, max(soft - SPARE_FILES, soft // 2))
        streams = min(streams, max(1, soft - OTHER_FILES))
    streams = min(streams, max(1, connections * 9 // 10))
    return settings.model_copy(update={"max_connections": connections, "max_streams": streams})


def calm_garbage_collection() -> None:
    """Leave what start-up made out of every collection, and collect a little less often.

    Measured on submissions: about a tenth more. Much higher thresholds cost again what the caches hold.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
