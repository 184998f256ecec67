"""An executor among fakes, for tests of how attempts end."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway import BlockingContext, Context, job
from headway.domain.jobs import Job
from headway.metrics import JobMetrics
from headway.running.attempt import Attempt
from headway.running.executor import Executor
from headway.running.failure_hook import FailureHook
from headway.running.processes.partner import Partner, Partners
from headway.running.processes.starting import Exit
from typing_extensions import override

from tests.support.attempts import LIMITS, FakeFiles, FakeStore, an_attempt, registry_of

if TYPE_CHECKING:
    from headway.running.cgroups.cgroup import Cgroup

Body = Callable[[Context], Awaitable[Any]]
"""What the handler does."""


class FakeHook(FailureHook):
    """Notes what is reported."""

    def __init__(self, reported: list[tuple[str, BaseException | None]]) -> None:
        super().__init__()
        self._reported = reported

    @override
    def report(self, job: Job, exception: BaseException | None = None) -> None:
        self._reported.append((job.id, exception))


class LostChild:
    """A child that dies with its nursery as soon as it has been started."""

    def __init__(self) -> None:
        self.pid = 0
        self.channel, childs_end = socket.socketpair()
        childs_end.close()
        self.cgroup: Cgroup | None = None
        self.exiting: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.exiting.set_result(Exit(None))

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    async def close(self) -> None: ...


class LosesAll:
    """Starts children that are lost (`Partners`)."""

    async def start(self, source: str, job_type: str) -> Partner:  # noqa: ARG002 - a port
        return Partner(LostChild())

    async def part(self, partner: Partner, job_type: str, *, keep: bool) -> None:  # noqa: ARG002 - a port
        await partner.close()


class ExecutorBench:
    """An executor among fakes, with one job type whose handler is the test's."""

    def __init__(self, root: Path) -> None:
        self.store = FakeStore()
        self.files = FakeFiles(root)
        self.metrics = JobMetrics()
        self.failures: list[tuple[str, BaseException | None]] = []
        self.executor: Executor

    def handles(self, body: Body, **limits: Any) -> None:
        @job("a-job", **limits)
        async def handler(ctx: Context) -> Any:
            return await body(ctx)

        self._make(handler)

    def loses_processes(self, **limits: Any) -> None:
        """The handler is a `def` whose processes all die with the one that they were forked from."""

        @job("a-job", **limits)
        def handler(ctx: BlockingContext) -> None: ...

        self._make(handler, processes=LosesAll())

    def serves(self, handler: Any) -> None:
        """A decorated function is the handler."""
        self._make(handler)

    def handles_nothing(self) -> None:
        self._make()

    async def run(self, attempt: Attempt | None = None) -> Any:
        """Execute an attempt: the outcome that was recorded."""
        await self.executor.execute(attempt or an_attempt())
        return self.store.finished[-1].outcome

    @property
    def messages(self) -> list[str]:
        """The log lines that were recorded with the outcome."""
        return self.store.finished[-1].messages

    @property
    def outcomes(self) -> dict[str, int]:
        """How many attempts ended how, by the metrics."""
        return {outcome: histogram.count for (_, outcome), histogram in self.metrics.ran.items()}

    def _make(self, *handlers: Any, processes: Partners | None = None) -> None:
        hook = FakeHook(self.failures)
        registry = registry_of(*handlers)
        self.executor = Executor(
            self.store, registry, self.files, LIMITS, processes=processes, metrics=self.metrics, failures=hook
        )
