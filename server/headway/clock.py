"""The server's clock: the system's wall clock, except that it never goes back.

A wall clock that is set back would leave what was due a moment ago waiting for as long as the step was.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime


class SteadyClock:
    """The monotonic clock plus the most that the wall clock was ever ahead of it: it follows steps forward only."""

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, steady_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        self._ahead_ns = wall_ns() - steady_ns()

    def __call__(self) -> datetime:
        """The time now, in UTC."""
        # The wall clock first: a thread that is held up in between finds it less far ahead, never further.
        wall_ns = self._wall_ns()
        steady_ns = self._steady_ns()
        self._ahead_ns = max(self._ahead_ns, wall_ns - steady_ns)
        # A float holds microseconds exactly until 2255; a sum with a timedelta would cost twice as much.
        return datetime.fromtimestamp((steady_ns + self._ahead_ns) // 1000 / 1e6, UTC)


utc_now = SteadyClock()
"""The clock of this process."""
