"""Signs of life of an attempt under test. Each is noted when the handler gives it; there a test may step in."""

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..authoring.contexts import BlockingContext
from ..authoring.reporting import nobody_listens
from ..clock import steady_s
from ..domain.progress import Progress
from ..errors import JobCancelled
from ..running.attempt import Attempt, StopReason
from ..running.deadlines import Deadlines
from ..running.performing import POLITE_CANCEL_S
from .record import RunRecord

if TYPE_CHECKING:
    from ..domain.jobs import NewLogLine

GRACE_S = 10.0
"""How long an `async def` handler that was asked to stop may take."""

OnReport = Callable[[Progress], object]


class Signs:
    """Listens to one attempt, which begins now."""

    def __init__(
        self,
        attempt: Attempt,
        record: RunRecord,
        stall_timeout_s: float | None,
        *,
        on_report: OnReport | None,
        cancel_when: OnReport | None,
        interrupt_when: OnReport | None,
    ) -> None:
        self.progress: list[Progress] = []
        self.lines: list[NewLogLine] = []
        self.failure: BaseException | None = None
        """What a function of the test's raised."""
        self._attempt = attempt
        self._record = record
        self._deadlines = Deadlines(attempt, stall_timeout_s=stall_timeout_s, grace_s=GRACE_S)
        self._on_report = on_report
        self._stops = ((cancel_when, StopReason.CANCEL), (interrupt_when, StopReason.SHUTDOWN))
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._context: BlockingContext | None = None
        self._asked_s = 0.0
        attempt.reported.ring = self.reported
        attempt.logs.ring = self._logged

    def end(self) -> None:
        """The handler has ended."""
        self._attempt.reported.ring = self._attempt.logs.ring = nobody_listens
        self._context = None

    def stop_blocking(self, context: BlockingContext) -> None:
        """Stop a `def` handler in this thread, which nothing else can: when it next gives a sign."""
        self._context = context

    def reported(self) -> None:
        """There is new progress."""
        progress = self._attempt.read_progress()
        if progress is not None:
            self.progress.append(progress)
            self._ask(progress)
        self.check()
        self._interrupt()

    def check(self) -> None:
        """Look at the deadlines, also because the clock has been moved."""
        if self._attempt.stop_reason is None:
            self._in_loop(self._deadlines.check)
        context = self._context
        if context is not None and self._attempt.stop_reason is not None and not context.cancelled:
            context.ask_to_stop()
            self._asked_s = steady_s()

    def _logged(self) -> None:
        self.lines.extend(self._attempt.take_lines())
        self.check()

    def _ask(self, progress: Progress) -> None:
        """Let the test look at a report."""
        try:
            if self._on_report is not None:
                self._on_report(progress)
            for when, reason in self._stops:
                if when is not None and self._attempt.stop_reason is None and when(progress):
                    self._record.cancel_requested |= reason is StopReason.CANCEL
                    self._in_loop(lambda reason=reason: self._attempt.stop(reason, GRACE_S))  # type: ignore[misc]
        except BaseException as error:  # noqa: BLE001 - it is the test's, and no failure of the handler
            self.failure = self.failure or error
            self._in_loop(lambda: self._attempt.stop(StopReason.CANCEL, GRACE_S))

    def _interrupt(self) -> None:
        """Raise `JobCancelled` in a `def` handler that goes on, as SIGTERM does in its process."""
        context = self._context
        if context is None or not context.cancelled or threading.get_ident() != self._thread:
            return
        if steady_s() - self._asked_s >= POLITE_CANCEL_S:
            raise JobCancelled

    def _in_loop(self, act: Callable[[], object]) -> None:
        """A handler may report from a thread of its own, and a test move the clock in one."""
        if self._context is not None or threading.get_ident() == self._thread:
            act()
        else:
            self._loop.call_soon_threadsafe(act)
