"""An executor among fakes, for tests of how attempts end."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from headway import Context, job
from headway.domain.jobs import Job
from headway.metrics import JobMetrics
from headway.running.attempt import Attempt
from headway.running.executor import Executor
from headway.running.failure_hook import FailureHook
from typing_extensions import override

from tests.support.attempts import LIMITS, FakeFiles, FakeStore, an_attempt, registry_of

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

    def _make(self, *handlers: Any) -> None:
        hook = FakeHook(self.failures)
        registry = registry_of(*handlers)
        self.executor = Executor(self.store, registry, self.files, LIMITS, metrics=self.metrics, failures=hook)
