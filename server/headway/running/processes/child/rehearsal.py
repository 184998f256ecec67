"""A rehearsal of an attempt: the messages, the reporter and the capturing of one whose handler does nothing.

A forked process copies each page of memory when it first writes to it, if only to count references. A child that waits
rehearses, so that those copies are made before it has an attempt. The keeper rehearses before anything is forked:
Python rewrites code that runs often for the types that it meets (PEP 659), once for all children instead of in each.
"""

import logging
import socket
from contextlib import nullcontext, suppress

from ....authoring.capturing import capture_process
from ....authoring.contexts import BlockingContext
from ....ports.files import Directories
from ...calling import Returned
from ..channel import BlockingChannel
from ..messages import Start
from .reporter import Reporter

OFTEN = 16
"""How often code must run until it is not rewritten any more: CPython 3.11 begins after 8 calls."""
_START = Start(
    source="rehearsal",
    type="rehearsal",
    job_id="00000000-0000-7000-8000-000000000000",
    attempt=1,
    owner="local",
    input_json="{}",
    checkpoint_json=None,
    directories=Directories("/", "/", "/"),
    lock_path="/",
    uploads={},
)


def rehearse(*, listens: bool) -> None:
    """Go through an attempt. `listens`: with the reporter's thread, which a process that is forked must not have.

    Where there is no room for a thread or a descriptor, the attempt itself will say so.
    """
    with suppress(OSError, RuntimeError):
        ours, theirs = socket.socketpair()
        with BlockingChannel(ours.detach()) as servers, BlockingChannel(theirs.detach()) as childs:
            servers.send(_START)
            if isinstance(start := childs.receive(), Start):
                _perform(start, childs, listens=listens)


def _perform(start: Start, channel: BlockingChannel, *, listens: bool) -> None:
    reporter = Reporter(channel)
    context = context_of(start, reporter)
    # Capturing configures logging where nobody has, which the author's factories would notice.
    captured = capture_process(reporter.logs, {"job_id": start.job_id}) if logging.root.handlers else nullcontext()
    try:
        with captured, reporter.interruption.allowed():
            if listens:
                reporter.listen(context)
            reporter.begin()
        reporter.flush(final=True)
        channel.send(Returned("null"))
    finally:
        reporter.close()


def context_of(start: Start, reporter: Reporter) -> BlockingContext:
    """What an attempt's handler is given."""
    return BlockingContext(
        job_id=start.job_id,
        attempt=start.attempt,
        owner=start.owner,
        directories=start.directories,
        reported=reporter.reported,
        logs=reporter.logs,
        checkpoint_json=start.checkpoint_json,
        sync_checkpoint=reporter.checkpoint,
        nudge=reporter.nudge,
    )
