"""The only place that names concrete adapters: opens them in order, serves, and closes them in reverse."""

import asyncio
import errno
import gc
import logging
import os
import resource
import signal
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, web

from .addresses import AllowList
from .control import Door, ask
from .engine import EmbeddedEngine
from .errors import DirectoryOwnedError, SetupError, StoreUnavailableError, UrlRefusedError
from .executor import Executor
from .files import DataDirectory
from .handlers import Registry
from .hub import LocalHub
from .metrics import Metrics
from .outgoing import Outgoing, check_url
from .retention import Retention
from .samples import MODULES
from .settings import Settings
from .sqlite.keeping import SqliteRecordKeeper
from .sqlite.key_store import SqliteKeyStore
from .sqlite.outbox import SqliteOutbox
from .sqlite.store import SqliteStore
from .upkeep import Upkeep
from .watchdog import LoopWatchdog
from .web.app import MAX_LINE_BYTES, make_app
from .web.connections import Runner
from .web.keys import ALLOWED, OUTBOX, STATE
from .web.links import Links
from .web.request_ids import add_request_id
from .web.wire import event_body
from .webhooks import WebhookSender

GC_THRESHOLDS = (5_000, 20, 100)
OTHER_FILES = 500
"""Open files that are no streams: the record, polls, downloads, handlers."""
SPARE_FILES = 250
"""Those of them that are no connections either."""

CREATES_KEYS = "keys create"
NO_KEYS = (
    "others than you can reach {where}, and there is no API key: make one with `python run.py keys create NAME`, "
    "or let everybody in with --insecure"
)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Rooms:
    """The parts of a running server."""

    app: web.Application
    store: SqliteStore
    keys: SqliteKeyStore
    hub: LocalHub
    engine: EmbeddedEngine
    executor: Executor
    files: DataDirectory
    metrics: Metrics


@asynccontextmanager
async def opened(settings: Settings, registry: Registry) -> AsyncIterator[Rooms]:
    """Everything but the listening socket. Raises `SetupError`; whatever was opened is closed again."""
    async with AsyncExitStack() as stack:
        files = DataDirectory.open(settings.data_dir)
        stack.callback(files.close)
        hub = LocalHub()
        metrics = Metrics()
        store = await SqliteStore.open(
            files.database,
            hub,
            max_queued=settings.max_queued,
            max_queued_per_owner=settings.max_queued_per_owner,
            body_of=partial(event_body, links=Links(settings.public_url)),
            commits=metrics.commits,
        )
        stack.push_async_callback(store.close)
        keeper = SqliteRecordKeeper(files.database, store)
        outbox = SqliteOutbox(store, hub)
        keys = await _open_keys(store, hub)
        if settings.key_needed and not await keys.any_in_force():
            raise SetupError(NO_KEYS.format(where=settings.public_url or settings.host))
        executor = Executor(store, registry, files, cancel_grace_s=settings.cancel_grace_s, metrics=metrics.jobs)
        engine = EmbeddedEngine(
            store,
            hub,
            registry,
            executor,
            max_running=settings.max_running,
            max_recoveries=settings.max_recoveries,
            cancel_grace_s=settings.cancel_grace_s,
            tick_s=settings.tick_s,
        )
        retention = Retention(store, keys, outbox, hub, files)
        await retention.start()
        stack.push_async_callback(retention.stop)
        allowed = AllowList(settings.webhook_allow)
        _check_webhooks(registry, allowed)
        outgoing = Outgoing(allowed)
        stack.push_async_callback(outgoing.close)
        sender = WebhookSender(outbox, hub, outgoing, metrics.deliveries)
        await sender.start()
        stack.push_async_callback(sender.stop, settings.shutdown_grace_s)
        await engine.start()
        stack.push_async_callback(engine.stop, settings.shutdown_grace_s)
        door = Door(files.root, Upkeep(keeper, keys, outbox, files).carry_out)
        await door.open()
        stack.push_async_callback(door.close)
        app = make_app(store, keeper, keys, hub, registry, files, settings, metrics)
        app[OUTBOX], app[ALLOWED] = outbox, allowed
        yield Rooms(app, store, keys, hub, engine, executor, files, metrics)


def _check_webhooks(registry: Registry, allowed: AllowList) -> None:
    """Raises `SetupError` for a job type whose webhook nothing can be sent to."""
    for job_type in registry:
        if job_type.webhook_url is not None:
            try:
                check_url(job_type.webhook_url, allowed)
            except UrlRefusedError as error:
                raise SetupError(f"the job type {job_type.name}: webhook_url: {error}") from error


async def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is given the address once it answers. Raises `SetupError`."""
    settings = _with_room_for_connections(settings)
    registry = Registry.load([*MODULES, *settings.jobs])
    stop = asyncio.Event()
    _on_signals(stop)
    for of_clients in (BadContentDispositionHeader, BadContentDispositionParam):
        # Python would print what a client sent, and remember each for ever.
        warnings.filterwarnings("ignore", category=of_clients)
    async with opened(settings, registry) as rooms:
        watchdog = LoopWatchdog(asyncio.get_running_loop(), registry, rooms.metrics.loop_lag)
        runner = Runner(
            rooms.app,
            access_log=None,
            keepalive_timeout=settings.keep_alive_s,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            shutdown_timeout=1.0,
        )
        await runner.setup()
        try:
            address = await _listen(runner, settings)
            _calm_garbage_collection()
            watchdog.start()
            announce(address)
            log.info("serving", address=address, data_dir=str(rooms.files.root), job_types=len(list(registry)))
            await stop.wait()
            log.info("stopping")
            rooms.app[STATE].stopping = True
            rooms.hub.close()  # streams and waiting DELETEs end now, not after aiohttp's own time-outs
        finally:
            watchdog.stop()
            await runner.cleanup()
    if rooms.executor.abandoned:
        # asyncio.run would wait for ever for a handler that swallows its cancellation.
        log.warning("leaving handlers behind that do not stop", handlers=len(rooms.executor.abandoned))
        sys.stderr.flush()
        os._exit(0)


def _with_room_for_connections(settings: Settings) -> Settings:
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


def _calm_garbage_collection() -> None:
    """Leave what start-up made out of every collection, and collect a little less often.

    Measured on submissions: about a tenth more. Much higher thresholds cost again what the caches hold.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def operate(settings: Settings, command: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Carry out an operator's command: by the server that owns the directory, or here if none does.

    Raises `SetupError`.
    """
    # Before the first start: a server that others reach does not start without a key.
    folder = DataDirectory.existing(settings.data_dir, may_be_new=command == CREATES_KEYS)
    try:
        files = DataDirectory.open(settings.data_dir)
    except DirectoryOwnedError:
        return await asyncio.to_thread(ask, folder, command, fields)
    async with AsyncExitStack() as stack:
        stack.callback(files.close)
        hub = LocalHub()
        body_of = partial(event_body, links=Links(settings.public_url))
        store = await SqliteStore.open(files.database, hub, max_queued=settings.max_queued, body_of=body_of)
        stack.push_async_callback(store.close)
        keys, outbox = await _open_keys(store, hub), SqliteOutbox(store, hub)
        upkeep = Upkeep(SqliteRecordKeeper(files.database, store), keys, outbox, files)
        return await upkeep.carry_out(command, fields)


async def _open_keys(store: SqliteStore, hub: LocalHub) -> SqliteKeyStore:
    """Raises `SetupError`."""
    try:
        return await SqliteKeyStore.open(store, hub)
    except StoreUnavailableError as error:
        raise SetupError(f"the keys cannot be read ({error}): restore a backup or choose another --data-dir") from error


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


def _on_signals(stop: asyncio.Event) -> None:
    """The first signal stops in order; the second at once: what is recorded is recorded."""
    loop = asyncio.get_running_loop()

    def heard() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, heard)


def configure_logging(log_format: str) -> None:
    """Logs on stderr, for people or as JSON lines; the standard library's loggers too."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    structlog.configure(  # not through the standard library's loggers: that takes twice as long, at every job's end
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
