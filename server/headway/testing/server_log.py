"""The server's log in tests: pytest shows it for those that fail."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from structlog.testing import LogCapture


@contextmanager
def logged() -> Iterator[None]:
    """Within the block, the server logs by the standard library, where structlog would print.

    Otherwise tests of what a program prints would see it. A project that has configured something else, or whose test
    captures the log, has it as it wants it.
    """
    before, was_configured = structlog.get_config(), structlog.is_configured()
    prints = isinstance(before["logger_factory"], structlog.PrintLoggerFactory)
    if not prints or any(isinstance(each, LogCapture) for each in before["processors"]):
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
        if was_configured:
            structlog.configure(**before)
        else:
            structlog.reset_defaults()
