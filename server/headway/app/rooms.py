"""The parts of a running server, opened in order and closed in reverse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from ..authoring.attempt_limits import AttemptLimits
from ..authoring.capturing import capturing
from ..authoring.job_types import Registry
from ..backends.bells import LocalHub
from ..domain.addresses import AllowList
from ..domain.ids import JobIds
from ..domain.urls import check_url
from ..errors import SetupError, UrlRefusedError
from ..files.data_directory import DataDirectory
from ..loops import Loops
from ..metrics import Metrics
from ..operating.commands import Commands
from ..operating.orphans import OrphanSweep
from ..operating.retention import Retention
from ..operating.socket import CommandSocket
from ..operating.uploads import UploadSweep
from ..ports.backend import Backend
from ..ports.jobs import JobStore
from ..ports.keys import KeyStore
from ..running.bounds.watching import warn_of_unwatched
from ..running.cgroups.containment import Containment
from ..running.engine import EmbeddedEngine
from ..running.executor import Executor
from ..running.failure_hook import FailureHook, OnFailure
from ..running.handler_tasks import containing
from ..running.limits import RunLimits
from ..running.processes.changing import ChangingProcesses
from ..running.processes.forked.keeping import KeeperProcess
from ..running.processes.forked.preloading import Preload
from ..running.processes.processes import Processes
from ..running.remote.workers import Workers
from ..running.slots import names_by_kind
from ..service.service import Limits, Service
from ..settings import Settings
from ..web.application import make_app
from ..web.routes import check_paths
from ..webhooks.outgoing import Outgoing
from ..webhooks.prober import WebhookProber
from ..webhooks.sender import WebhookSender
from .record import open_record

NO_KEYS = (
    "{where} can be reached from other machines, and there is no API key: create one with "
    "`headway keys create NAME`, or serve without keys with --insecure"
)
MAX_SPARES = 2
"""Children that wait ready: while one begins, the next is forked."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """The parts of a running server."""

    app: web.Application
    service: Service
    store: JobStore
    keys: KeyStore
    hub: LocalHub
    engine: EmbeddedEngine
    executor: Executor
    files: DataDirectory
    metrics: Metrics
    loops: Loops
    registry: Registry
    processes: Processes
    commands: Commands


@asynccontextmanager
async def opened(
    settings: Settings,
    registry: Registry,
    on_failure: OnFailure | None = None,
    keeper: KeeperProcess | None = None,
) -> AsyncIterator[Rooms]:
    """Everything but the listening socket. Raises `SetupError`; whatever was opened is closed again.

    `keeper` was forked from this process, if that was possible.

    The order carries weight. Uploads are found before any job can be deleted, which may be the one that took them.
    Retention listens for deletions before the engine's recovery can delete anything; the sender is there before the
    first event; commands are taken once everything answers. What takes the longer the more jobs have ended comes last,
    and nothing waits for it.
    """
    registry = servable(settings, registry)
    allowed = AllowList(settings.webhook_allow)
    async with AsyncExitStack() as stack:
        stack.enter_context(capturing())
        stack.enter_context(containing())
        files = DataDirectory.open(settings.data_dir)
        stack.callback(files.close)
        hub = LocalHub()
        metrics = Metrics()
        loops = Loops()
        stack.push_async_callback(loops.stop)  # each room stops its own before; this is for what is left
        backend = await open_record(stack, settings, files, hub, metrics, names_by_kind(registry))
        if settings.key_needed and not await backend.keys.any_valid():
            raise SetupError(NO_KEYS.format(where=settings.public_url or settings.host))
        outgoing = Outgoing(allowed)
        stack.push_async_callback(outgoing.close)
        ids, prober = JobIds(), WebhookProber(backend.outbox, outgoing)
        workers, limits = Workers(backend.store, registry), _limits(settings, allowed)
        service = Service.over(backend, files, registry, ids, prober, workers, limits=limits, loops=loops)
        await _open_uploads(service, loops, stack)
        retention = Retention(backend, files, settings.audit_retain_s)
        await retention.start(loops)
        stack.push_async_callback(retention.stop)
        await _open_sender(settings, outgoing, backend, metrics, loops, stack)
        processes = await _open_processes(settings, registry, keeper, stack)
        running = registry.beside(service.running_actions.job_type)
        engine, executor = _running(settings, running, backend, files, processes, workers, metrics, on_failure)
        stack.push_async_callback(executor.close)
        await engine.start(loops)
        stack.push_async_callback(engine.stop, settings.shutdown_grace_s)
        commands = Commands(backend, files)
        command_socket = CommandSocket(files.root, commands.run)
        await command_socket.open()
        stack.push_async_callback(command_socket.close)
        app = make_app(service, backend=backend, registry=registry, settings=settings, metrics=metrics, loops=loops)
        orphans = OrphanSweep(backend.store, files, ids)
        orphans.start(loops)
        stack.push_async_callback(orphans.stop)
        yield Rooms(
            app,
            service,
            backend.store,
            backend.keys,
            hub,
            engine,
            executor,
            files,
            metrics,
            loops,
            registry,
            processes,
            commands,
        )


def servable(settings: Settings, registry: Registry) -> Registry:
    """The types with the settings' defaults. Raises `SetupError` if one of them cannot be served with them."""
    registry = registry.with_defaults(_default_limits(settings))
    check_paths(registry)
    warn_of_unwatched(registry)
    _check_webhooks(registry, AllowList(settings.webhook_allow))
    return registry


def _default_limits(settings: Settings) -> AttemptLimits:
    return AttemptLimits(
        memory_mib=settings.job_memory_mib,
        cpu_s=settings.job_cpu_s,
        max_output_mib=settings.job_max_output_mib,
        max_pids=settings.job_max_pids,
    )


def _check_webhooks(registry: Registry, allowed: AllowList) -> None:
    """Raises `SetupError` for a job type whose webhook nothing can be sent to."""
    for job_type in registry:
        if job_type.webhook_url is not None:
            try:
                check_url(job_type.webhook_url, allowed)
            except UrlRefusedError as error:
                raise SetupError(f"{job_type.place}: {job_type.name}: webhook_url: {error}") from error


async def _open_uploads(service: Service, loops: Loops, stack: AsyncExitStack) -> None:
    """Find the resumable uploads of earlier runs, and start deleting what expires."""
    await service.uploads.open()
    sweep = UploadSweep(service.uploads.expire)
    sweep.start(loops)
    stack.push_async_callback(sweep.stop)


async def _open_sender(
    settings: Settings, outgoing: Outgoing, backend: Backend, metrics: Metrics, loops: Loops, stack: AsyncExitStack
) -> None:
    """Start sending webhooks."""
    sender = WebhookSender(backend.outbox, backend.hub, outgoing, metrics.deliveries)
    await sender.start(loops)
    stack.push_async_callback(sender.stop, settings.shutdown_grace_s)


async def _open_processes(
    settings: Settings, registry: Registry, keeper: KeeperProcess | None, stack: AsyncExitStack
) -> Processes:
    sources, preloads, spares = forked(settings, registry)
    wanted = registry.can_change or any(not job_type.is_async for job_type in registry)
    containment = await asyncio.to_thread(Containment.open) if wanted else None
    if containment is not None:
        stack.push_async_callback(asyncio.to_thread, containment.close)
    make = ChangingProcesses if registry.can_change else Processes
    processes = make(sources, spares, keeper, preloads, None if containment is None else containment.path)
    await processes.open()
    stack.push_async_callback(processes.close)
    return processes


def forked(settings: Settings, registry: Registry) -> tuple[list[str], list[Preload], int]:
    """Of the types whose processes are forked the modules, and what is loaded before. And how many wait ready."""
    own = [job_type for job_type in registry if settings.process_start == "fork" and not job_type.is_async]
    spares = min(settings.max_processes, MAX_SPARES)
    preloads = [preload for job_type in own if (preload := Preload.of(job_type, spares)) is not None]
    return [job_type.source for job_type in own], preloads, spares


def _running(
    settings: Settings,
    registry: Registry,
    backend: Backend,
    files: DataDirectory,
    processes: Processes,
    workers: Workers,
    metrics: Metrics,
    on_failure: OnFailure | None,
) -> tuple[EmbeddedEngine, Executor]:
    failures = FailureHook(on_failure)
    limits = RunLimits(
        max_tasks=settings.max_tasks,
        max_processes=settings.max_processes,
        max_recoveries=settings.max_recoveries,
        cancel_grace_s=settings.cancel_grace_s,
        tick_s=settings.tick_s,
    )
    executor = Executor(
        backend.store,
        registry,
        files,
        limits,
        processes=processes,
        workers=workers,
        metrics=metrics.jobs,
        failures=failures,
    )
    engine = EmbeddedEngine(backend.store, backend.hub, registry, executor, limits, failures, processes, workers)
    return engine, executor


def _limits(settings: Settings, allowed: AllowList) -> Limits:
    return Limits(
        retain_s=settings.retain_s,
        min_free_bytes=settings.min_free_bytes,
        max_waits=settings.max_waits,
        max_waits_per_client=settings.max_waits_per_client,
        max_waits_per_owner=settings.max_waits_per_owner,
        max_input_bytes=settings.max_body_bytes,
        allowed=allowed,
        max_upload_bytes=settings.max_upload_bytes,
    )
