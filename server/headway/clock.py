"""The server's clocks: the system's wall clock, except that it never goes back, and the monotonic clock of deadlines.

If the wall clock is set back, jobs that were due a moment ago would otherwise wait for as long as the step was. Tests
move both (`testing.clock`).
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime


class SteadyClock:
    """The monotonic clock plus the largest lead that the wall clock ever had: it follows steps forward only."""

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, steady_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        self._ahead_ns = wall_ns() - steady_ns()
        self._moved_ns = 0

    def __call__(self) -> datetime:
        """The time now in UTC, rounded down to the millisecond: the precision of the record."""
        # A float is precise enough, and adding a timedelta would cost twice as much.
        return datetime.fromtimestamp(self.ms() / 1e3, UTC)

    def ms(self) -> int:
        """The time now, in milliseconds since 1970."""
        # The wall clock first: a thread that is suspended in between sees a smaller lead, never a larger one.
        wall_ns = self._wall_ns()
        steady_ns = self._steady_ns()
        self._ahead_ns = max(self._ahead_ns, wall_ns - steady_ns)
        return (steady_ns + self._ahead_ns) // 1_000_000

    def steady_s(self) -> float:
        """The monotonic clock in seconds, for the deadlines of attempts."""
        return (self._steady_ns() + self._moved_ns) / 1e9

    def move(self, seconds: float) -> None:
        """Move both clocks forward, or back again: for tests."""
        moved_ns = round(seconds * 1e9)
        self._moved_ns += moved_ns
        self._ahead_ns += moved_ns


utc_now = SteadyClock()
"""The clock of this process."""
steady_s = utc_now.steady_s
"""Its monotonic clock, in seconds."""
