"""Server-sent events as bytes (WHATWG HTML, 9.2.5)."""

from pydantic_core import to_json

from ...domain.jobs import LogLine
from ...representation import log_line_fields

KEEP_ALIVE = b": keep-alive\n"
"""A comment, which stands before the next event: some clients hand their user a block without data as an event."""


def preamble(retry_ms: int) -> bytes:
    """The first bytes of a stream: when to reconnect, and a comment. The first event ends their block."""
    return b"retry: %d\n: connected\n" % retry_ms


def log_event(line: LogLine) -> bytes:
    """A log line as an event."""
    return b"event: log\nid: %d\ndata: %s\n\n" % (line.seq, to_json(log_line_fields(line)))


def state_event(data: bytes, event_id: int | None = None) -> bytes:
    """A job's representation as an event. It has no name, so that `source.onmessage` receives it."""
    return b"data: %s\n\n" % data if event_id is None else b"id: %d\ndata: %s\n\n" % (event_id, data)


def gone_event(job_id: str) -> bytes:
    return b'event: gone\ndata: {"jobId":"%s"}\n\n' % job_id.encode()


def reset_event(job_id: str) -> bytes:
    return b'event: reset\ndata: {"jobId":"%s"}\n\n' % job_id.encode()


def ready_event(total: int) -> bytes:
    """The snapshot of a stream of many jobs is complete."""
    return b'event: ready\ndata: {"total":%d}\n\n' % total
