"""Process settings at start: the limit of open files, garbage collection, how long a thread keeps the interpreter."""

import gc
import resource
import sys
from contextlib import suppress

from ..settings import Settings

GC_THRESHOLDS = (20_000, 10, 100)
OTHER_FILES = 500
"""Files that are kept open for other things than streams: the record, polls, downloads, handlers."""
SWITCH_INTERVAL_S = 0.0005
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

    The first threshold is above the number of objects that come and go with a wave of short jobs, which are no garbage:
    with 5,000 each wave was searched, at a tenth of what the jobs cost the event loop (33 us each; now 3).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def share_the_interpreter() -> None:
    """Let a thread that computes keep the interpreter for half a millisecond, instead of five, while others wait.

    The event loop waits as long after each of its system calls. Measured with a megabyte of JSON in a thread: another
    owner's poll took 8.4 ms instead of 0.6 ms (p50), and an empty job 170 ms instead of 18 ms.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
