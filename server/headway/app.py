"""The only place that names concrete adapters: opens them in order, serves, and closes them in reverse."""

import asyncio
import errno
import os
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

from .authoring.job_types import Registry
from .authoring.loading import load_job_types
from .backends.bells import LocalHub
from .backends.sqlite.key_store import SqliteKeyStore
from .backends.sqlite.outbox import SqliteOutbox
from .backends.sqlite.record_keeper import SqliteRecordKeeper
from .backends.sqlite.store import SqliteStore
from .domain.addresses import AllowList
from .domain.urls import check_url
from .errors import DirectoryOwnedError, SetupError, StoreUnavailableError, UrlRefusedError
from .files.data_directory import DataDirectory
from .links import Links
from .metrics import Metrics
from .operating.commands import Upkeep
from .operating.process_limits import calm_garbage_collection, fit_open_files
from .operating.retention import Retention
from .operating.socket import Door, ask
from .representation import event_body
from .running.engine import EmbeddedEngine
from .running.executor import Executor
from .running.failure_hook import FailureHook, OnFailure
from .running.limits import RunLimits
from .running.watchdog import LoopWatchdog
from .samples import MODULES
from .service.service import Limits, Service
from .settings import Settings
from .web.application import MAX_LINE_BYTES, make_app
from .web.connections.limits import Runner
from .webhooks.outgoing import Outgoing
from .webhooks.sender import WebhookSender

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
    service: Service
    store: SqliteStore
    keys: SqliteKeyStore
    hub: LocalHub
    engine: EmbeddedEngine
    executor: Executor
    files: DataDirectory
    metrics: Metrics


@asynccontextmanager
async def opened(settings: Settings, registry: Registry, on_failure: OnFailure | None = None) -> AsyncIterator[Rooms]:
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
        failures = FailureHook(on_failure)
        limits = RunLimits(
            max_running=settings.max_running,
            max_recoveries=settings.max_recoveries,
            cancel_grace_s=settings.cancel_grace_s,
            tick_s=settings.tick_s,
        )
        executor = Executor(store, registry, files, limits, metrics=metrics.jobs, failures=failures)
        engine = EmbeddedEngine(store, hub, registry, executor, limits, failures)
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
        service = Service.over(
            store,
            hub,
            outbox,
            files,
            registry,
            limits=Limits(
                retain_s=settings.retain_s,
                min_free_bytes=settings.min_free_bytes,
                max_waits=settings.max_waits,
                max_waits_per_client=settings.max_waits_per_client,
            ),
            allowed=allowed,
        )
        app = make_app(
            service,
            store=store,
            hub=hub,
            keeper=keeper,
            keys=keys,
            registry=registry,
            settings=settings,
            metrics=metrics,
        )
        yield Rooms(app, service, store, keys, hub, engine, executor, files, metrics)


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
    settings = fit_open_files(settings)
    registry = load_job_types([*MODULES, *settings.jobs])
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
            calm_garbage_collection()
            watchdog.start()
            announce(address)
            log.info("serving", address=address, data_dir=str(rooms.files.root), job_types=len(list(registry)))
            await stop.wait()
            log.info("stopping")
            rooms.service.admission.stopping = True
            rooms.hub.close()  # streams and waiting DELETEs end now, not after aiohttp's own time-outs
        finally:
            watchdog.stop()
            await runner.cleanup()
    if rooms.executor.abandoned:
        # asyncio.run would wait for ever for a handler that swallows its cancellation.
        log.warning("leaving handlers behind that do not stop", handlers=len(rooms.executor.abandoned))
        sys.stderr.flush()
        os._exit(0)


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
