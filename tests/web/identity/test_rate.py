"""`Rate`: a limit of requests per minute."""

import tracemalloc

from headway.web.identity.rates import WINDOW_S, Rate, Standing
from hypothesis import given
from hypothesis import strategies as st


class Clock:
    def __init__(self) -> None:
        self.now_s = 6_000.0

    def __call__(self) -> float:
        return self.now_s


def times(rate: Rate, count: int, key: str = "a") -> None:
    for _ in range(count):
        rate.count(key)


def test_the_limit_is_used_up_after_as_many_requests() -> None:
    rate = Rate(3, Clock())
    assert rate.standing("a") == Standing(3, WINDOW_S)
    times(rate, 2)
    assert rate.standing("a").left == 1
    times(rate, 1)
    assert rate.standing("a").left == 0
    assert rate.standing("b").left == 3


def test_requests_late_in_a_minute_count_in_the_next() -> None:
    """Not twice as much around the full minute."""
    clock = Clock()
    rate = Rate(60, clock)
    clock.now_s += 59
    times(rate, 60)
    clock.now_s += 2
    assert rate.standing("a").left == 1
    clock.now_s += 29
    assert rate.standing("a").left == 30
    clock.now_s += 30
    assert rate.standing("a").left == 60


def test_counts_are_dropped_after_two_idle_minutes() -> None:
    clock = Clock()
    rate = Rate(5, clock)
    times(rate, 5)
    clock.now_s += 3 * WINDOW_S
    assert rate.standing("a").left == 5
    assert len(rate) == 0


@given(
    st.integers(1, 30),
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 9_000)), max_size=200),
)
def test_a_client_that_waits_for_retry_after_is_admitted(limit: int, steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    rate = Rate(limit, clock)
    done: dict[str, list[float]] = {"a": [], "b": []}
    for key, step_ms in steps:
        clock.now_s += step_ms / 1000
        standing = rate.standing(key)
        if not standing.left:
            assert 1 <= standing.wait_s <= 2 * WINDOW_S
            clock.now_s += standing.wait_s
            assert rate.standing(key).left >= 1
        rate.count(key)
        done[key].append(clock.now_s)
        within_a_minute = [at_s for at_s in done[key] if at_s > clock.now_s - WINDOW_S]
        assert len(within_a_minute) <= 2 * limit


def test_a_flood_of_keys_is_bounded_by_evicting_the_oldest() -> None:
    clock = Clock()
    rate = Rate(2, clock, max_keys=1_000)
    times(rate, 2, "early")
    tracemalloc.start()
    for number in range(50_000):
        rate.count(f"10.{number}")
        clock.now_s += 0.005
    kept_bytes, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rate) <= 2_000
    assert max(kept_bytes, most_bytes) < 1_000_000
    assert rate.standing("early").left == 2
