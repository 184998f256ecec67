"""The server's log in tests: pytest shows it for those that fail."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def logged() -> Iterator[None]:
    """Within the block, the server logs by the standard library, unless the project has configured structlog.

    Otherwise structlog would print, and tests of what a program prints would see it.
    """
    if structlog.is_configured():
        yield
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    try:
        yield
    finally:
        structlog.reset_defaults()
