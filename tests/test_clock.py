"""The server's clock follows the wall clock forward, never back."""

from datetime import UTC, datetime, timedelta

from headway.clock import SteadyClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND_NS = 1_000_000_000


class _Clocks:
    """Both clocks of a machine; `step` sets the wall clock, `passes` lets time go by on both."""

    def __init__(self) -> None:
        self.wall_ns = int(NOON.timestamp()) * SECOND_NS
        self.steady_ns = 77 * SECOND_NS
        self.now = SteadyClock(lambda: self.wall_ns, lambda: self.steady_ns)

    def passes(self, seconds: int) -> None:
        self.wall_ns += seconds * SECOND_NS
        self.steady_ns += seconds * SECOND_NS

    def step(self, seconds: int) -> None:
        self.wall_ns += seconds * SECOND_NS


def test_the_clock_shows_the_wall_clocks_time() -> None:
    clocks = _Clocks()
    assert clocks.now() == NOON
    clocks.passes(90)
    assert clocks.now() == NOON + timedelta(seconds=90)


def test_the_clock_goes_on_when_the_wall_clock_is_set_back() -> None:
    clocks = _Clocks()
    clocks.now()
    clocks.step(-3600)
    clocks.passes(5)
    assert clocks.now() == NOON + timedelta(seconds=5)


def test_the_clock_follows_a_step_forward_and_never_goes_back() -> None:
    clocks = _Clocks()
    clocks.step(3600)
    assert clocks.now() == NOON + timedelta(hours=1)
    clocks.step(-3600)
    clocks.passes(1)
    assert clocks.now() == NOON + timedelta(hours=1, seconds=1)
