"""Listening: the socket, the signals that stop the server, and what the process is set to while it serves."""

import asyncio
import errno
import os
import signal
import sys
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
def stopped_by_signals() -> Iterator[asyncio.Event]:
    """Set by SIGTERM or SIGINT. A second signal ends the process at once: what is recorded is recorded.

    Afterwards the program has its own handlers again, unless it has set others meanwhile.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def received() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    before = {number: _handlers(loop, number) for number in STOPPING}
    for number in STOPPING:
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, received)
    added = {number: _handlers(loop, number) for number in STOPPING}
    try:
        yield stop
    finally:
        for number in STOPPING:
            if _handlers(loop, number) == added[number] != before[number]:
                _restore(loop, number, *before[number])


def _handlers(loop: asyncio.AbstractEventLoop, number: int) -> "tuple[Any, asyncio.Handle | None]":
    """A signal's handler, and the one that the event loop has for it, for which asyncio has no public function."""
    return signal.getsignal(number), getattr(loop, "_signal_handlers", {}).get(number)


def _restore(loop: asyncio.AbstractEventLoop, number: int, handler: Any, of_loop: "asyncio.Handle | None") -> None:
    if of_loop is not None:  # the rest of what `add_signal_handler` does has stayed in force
        getattr(loop, "_signal_handlers", {})[number] = of_loop
        return
    loop.remove_signal_handler(number)
    if handler is not None:  # `None` is one that was not set from Python
        signal.signal(number, handler)


def ignore_warnings_about_clients() -> None:
    """Python would print what a client sent, and keep every such text for ever."""
    for of_clients in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.filterwarnings("ignore", category=of_clients)


def exit_if_handlers_remain(rooms: Rooms) -> None:
    """`asyncio.run` would wait for ever for a handler that swallows its cancellation."""
    if rooms.executor.abandoned:
        log.warning("exiting although handlers have not stopped", handlers=len(rooms.executor.abandoned))
        sys.stderr.flush()
        os._exit(0)


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
