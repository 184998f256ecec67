"""A rehearsal of an attempt: the messages, the reporter and the capturing of one whose handler does nothing.

A forked process copies each page of memory when it first writes to it, if only to count references. A child that waits
rehearses, so that those copies are made before it has an attempt. The keeper rehearses before anything is forked:
Python rewrites code that runs often for the types that it meets (PEP 659), once for all children instead of in each.
"""

import logging
import socket
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cache

from pydantic import TypeAdapter

from ....authoring.capturing import capture_process
from ....authoring.contexts import BlockingContext
from ....authoring.declaring import all_declared
from ....authoring.job_types import JobType
from ....ports.files import Directories
from ...calling import call_blocking
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
            job_type = _type_that_does_nothing()
            if isinstance(start := childs.receive(), Start) and job_type is not None:
                _perform(start, job_type, childs, listens=listens)


@cache
def _type_that_does_nothing() -> JobType | None:
    """One of the loaded types with another handler, which needs nothing. `None` if none is loaded."""
    for one in all_declared():
        return replace(
            one,
            handler=lambda _: None,
            positional=("_",),
            input_type=None,
            uploads={},
            dependencies={},
            output=TypeAdapter(None),
        )
    return None


def _perform(start: Start, job_type: JobType, channel: BlockingChannel, *, listens: bool) -> None:
    reporter = Reporter(channel)
    context = context_of(start, reporter)
    # Capturing configures logging where nobody has, which the author's factories would notice.
    captured = capture_process(reporter.logs, {"job_id": start.job_id}) if logging.root.handlers else nullcontext()
    try:
        with captured, reporter.interruption.allowed():
            if listens:
                reporter.listen(context)
            end = call_blocking(job_type, context, start.input_json, start.uploads, reporter.begin, lambda _: {})
        reporter.flush(final=True)
        channel.send(end)
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
