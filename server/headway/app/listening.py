"""Listening: the socket, the signals that stop the server, and what the process is set to while it serves."""

import asyncio
import errno
import os
import signal
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import structlog
from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, web

from ..authoring.job_types import Registry
from ..errors import SetupError
from ..operating.process_limits import calm_garbage_collection, share_the_interpreter
from ..running.watchdog import LoopWatchdog
from ..settings import Settings
from ..web.application import MAX_FIELD_BYTES, MAX_LINE_BYTES
from ..web.connections.limits import Runner
from ..web.requests.content import READ_BYTES
from .exiting import ShutdownDeadline
from .rooms import Rooms

SHUTDOWN_TIMEOUT_S = 1.0
STOPPING = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


@asynccontextmanager
async def listening(rooms: Rooms, settings: Settings, registry: Registry) -> AsyncIterator[str]:
    """The address under which the server answers, while it does. Raises `SetupError`."""
    watchdog = LoopWatchdog(asyncio.get_running_loop(), registry, rooms.metrics.loop_lag)
    runner = Runner(
        rooms.app,
        access_log=None,
        keepalive_timeout=settings.keep_alive_s,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_FIELD_BYTES,
        read_bufsize=READ_BYTES,
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
    )
    await runner.setup()
    try:
        address = await _listen(runner, settings)
        calm_garbage_collection()
        share_the_interpreter()
        watchdog.start()
        yield address
    finally:
        watchdog.stop()
        await runner.cleanup()


@contextmanager
def stopped_by_signals(within_s: float) -> Iterator[asyncio.Event]:
    """Set by SIGTERM or SIGINT. A second signal ends the process at once: what is recorded is recorded.

    So does the end of `within_s` seconds after the first, if the block has not been left by then. Both hold while a
    handler blocks the event loop, too. Afterwards the program has its own handlers again, unless it has set others
    meanwhile.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    deadline = ShutdownDeadline(loop, within_s)

    def received(_number: int, _frame: object) -> None:
        """Called beside the loop's own callback, which has to wait for its turn."""
        if deadline.begun:
            os._exit(1)
        deadline.begin()

    before = {number: _handlers(loop, number) for number in STOPPING}
    for number in STOPPING:
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
            signal.signal(number, received)  # in place of one that does nothing
            signal.siginterrupt(number, False)
    added = {number: _handlers(loop, number) for number in STOPPING}
    try:
        yield stop
    finally:
        deadline.lift()
        for number in STOPPING:
            if _handlers(loop, number) == added[number] != before[number]:
                _restore(loop, number, *before[number])


def _handlers(loop: asyncio.AbstractEventLoop, number: int) -> "tuple[Any, asyncio.Handle | None]":
    """A signal's handler, and the one that the event loop has for it, for which asyncio has no public function."""
    return signal.getsignal(number), getattr(loop, "_signal_handlers", {}).get(number)


def _restore(loop: asyncio.AbstractEventLoop, number: int, handler: Any, of_loop: "asyncio.Handle | None") -> None:
    if of_loop is None:
        loop.remove_signal_handler(number)
    else:  # the loop is still notified of the signal
        getattr(loop, "_signal_handlers", {})[number] = of_loop
    if handler is not None:  # `None` is one that was not set from Python
        signal.signal(number, handler)
        signal.siginterrupt(number, of_loop is None)


def ignore_warnings_about_clients() -> None:
    """Python would print what a client sent, and keep every such text for ever."""
    for of_clients in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.filterwarnings("ignore", category=of_clients)


async def _listen(runner: web.AppRunner, settings: Settings) -> str:
    site = web.TCPSite(runner, settings.host, settings.port, backlog=1024)
    try:
        await site.start()
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise SetupError(f"{where} is in use: stop what listens there, or choose another --port") from error
        raise SetupError(f"cannot listen on {where} ({error.strerror}): choose another --host or --port") from error
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
