"""What the rooms count about themselves: plain numbers, kept where the facts are, read when `/metrics` is.

Pure, and cheap enough for every request: an observation is an addition or two. `app` hands each room its part.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

QUICK_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""For durations of milliseconds: requests, commits, the loop's lag."""
LONG_S = (0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)
"""For durations of up to hours: jobs."""
MEMORY_BYTES = tuple(float(2**power) for power in range(24, 37))
"""For the memory of processes: 16 MiB to 64 GiB."""
DELIVERY_OUTCOMES = ("delivered", "retry", "failed")
BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


class Histogram:
    """Counts of values by bucket, and their sum."""

    __slots__ = ("_counts", "_upper", "sum")

    def __init__(self, upper: Sequence[float]) -> None:
        """`upper`: the upper bounds of the buckets, ascending. Values above the last are counted too."""
        self._upper = upper
        self._counts = [0] * (len(upper) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._upper, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound with the number of values up to it; the last bound is infinity."""
        total = 0
        for bound, count in zip((*self._upper, float("inf")), self._counts, strict=True):
            total += count
            yield bound, total


def _quick() -> Histogram:
    return Histogram(QUICK_S)


def _long() -> Histogram:
    return Histogram(LONG_S)


def _memory() -> Histogram:
    return Histogram(MEMORY_BYTES)


@dataclass(slots=True)
class CommitMetrics:
    """Transactions: the seconds from handing one to the writer's thread until it is durable, and its operations."""

    seconds: Histogram = field(default_factory=_quick)
    operations: Histogram = field(default_factory=lambda: Histogram(BATCHES))


@dataclass(slots=True)
class JobMetrics:
    """Attempts: the seconds from due to claimed, by type; and from claimed to ended, by type and outcome.

    And what their processes used, by type.
    """

    waited: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(_long))
    ran: defaultdict[tuple[str, str], Histogram] = field(default_factory=lambda: defaultdict(_long))
    cpu_s: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(_long))
    peak_memory_bytes: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(_memory))


@dataclass(slots=True)
class Answered:
    """Requests of one kind: their number, and the seconds of those whose duration does not depend on the client."""

    count: int = 0
    seconds: Histogram = field(default_factory=_quick)


@dataclass(slots=True)
class RequestMetrics:
    """Requests that were answered, by method, route and status."""

    answered: dict[tuple[str, str, int], Answered] = field(default_factory=dict)


@dataclass(slots=True)
class DeliveryMetrics:
    """Attempts to deliver a webhook, by outcome: one of `DELIVERY_OUTCOMES`."""

    attempts: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Metrics:
    """All metrics of one server."""

    commits: CommitMetrics = field(default_factory=CommitMetrics)
    jobs: JobMetrics = field(default_factory=JobMetrics)
    requests: RequestMetrics = field(default_factory=RequestMetrics)
    deliveries: DeliveryMetrics = field(default_factory=DeliveryMetrics)
    loop_lag: Histogram = field(default_factory=_quick)
    """Seconds by which the event loop was late for a timer."""
