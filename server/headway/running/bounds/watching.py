"""Watches one attempt: what it uses is read a few times a second, and it is stopped once that is over a limit."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from ...authoring.attempt_limits import AttemptLimits
from ...authoring.job_types import Registry
from ...domain.jobs import JobError
from ..cgroups.cgroup import Cgroup
from .process_tree import KNOWN, ProcessTree

LOOK_EVERY_S = 0.25
PAUSE_FACTOR = 19
"""The pause is at least this many times as long as the look before it, so that watching takes 5 % of a core at most."""
_MIB = 1024 * 1024

log = structlog.get_logger(__name__)


class Watch:
    """Watches an attempt that has limits."""

    def __init__(
        self, limits: AttemptLimits, written_bytes: Callable[[], int], exceeded: Callable[[JobError], None]
    ) -> None:
        """`written_bytes` says what the attempt's directories hold; it may block. `exceeded` is called once at most."""
        self._limits = limits
        self._written_bytes = written_bytes
        self._exceeded = exceeded

    @asynccontextmanager
    async def over(
        self, pid: int | None = None, kill: Callable[[], None] | None = None, cgroup: Cgroup | None = None
    ) -> AsyncIterator[None]:
        """Watch within the block, with the process `pid`, its descendants and its `cgroup`.

        `kill` ends them beyond a limit.
        """
        tree = None
        if pid is not None and self._limits.any_of_processes and KNOWN:
            tree = await asyncio.to_thread(ProcessTree, pid, cgroup)
        task = asyncio.create_task(self._look_on(tree, kill))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _look_on(self, tree: ProcessTree | None, kill: Callable[[], None] | None) -> None:
        pause_s = LOOK_EVERY_S
        while True:
            await asyncio.sleep(pause_s)
            began_s = time.monotonic()
            error = await asyncio.to_thread(self._look, tree)
            if error is not None:
                self._exceeded(error)
                if kill is not None:
                    kill()
                return
            pause_s = max(LOOK_EVERY_S, PAUSE_FACTOR * (time.monotonic() - began_s))

    def _look(self, tree: ProcessTree | None) -> JobError | None:
        """What is over its limit. The number of processes comes first: reading them all takes longer."""
        return (None if tree is None else self._look_at(tree)) or too_much_written(self._limits, self._written_bytes)

    def _look_at(self, tree: ProcessTree) -> JobError | None:
        limits, family = self._limits, tree.read()
        processes = tree.processes(family)
        if limits.max_pids is not None and processes > limits.max_pids:
            detail = f"The limit is {limits.max_pids:,}, and there were {processes:,}."
            return _error("process-limit", "The job exceeded its limit of processes", detail)
        if limits.cpu_s is not None and (cpu_s := tree.cpu_s(family)) > limits.cpu_s:
            detail = f"The limit is {limits.cpu_s:g} s, and {cpu_s:,.1f} s were used."
            return _error("cpu-limit", "The job exceeded its limit of CPU time", detail)
        if limits.memory_mib is not None:
            mib = tree.mib_over(limits.memory_mib, family)
            if mib is not None:
                where = "1 process" if processes == 1 else f"{processes:,} processes"
                detail = f"The limit is {limits.memory_mib:g} MiB, and {mib:,.0f} MiB were used in {where}."
                return _error("memory-limit", "The job exceeded its memory limit", detail)
        return None


def too_much_written(limits: AttemptLimits, written_bytes: Callable[[], int]) -> JobError | None:
    """The error of an attempt whose directories hold more than they may."""
    if limits.max_output_mib is None or (mib := written_bytes() / _MIB) <= limits.max_output_mib:
        return None
    detail = f"The limit is {limits.max_output_mib:g} MiB, and its directories held {mib:,.1f} MiB."
    return _error("output-limit", "The job wrote more than it may", detail)


def warn_of_unwatched(registry: Registry) -> None:
    """Log which types have limits that cannot be kept on this system."""
    names = [job_type.name for job_type in registry if job_type.limits.any_of_processes]
    if names and not KNOWN:
        log.warning("limits of memory, CPU time and processes need Linux's /proc: they are not kept here", types=names)


def _error(kind: str, title: str, detail: str) -> JobError:
    return JobError(type=kind, title=title, detail=detail, status=500)
