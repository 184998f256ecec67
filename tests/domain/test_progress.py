"""`Meter`: what is published of a handler's reports. The test passes in the time."""

import itertools
import json
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from headway.authoring.reporting import Reported
from headway.domain.progress import MAX_ETA_S, MAX_PERCENT_RUNNING, Meter, Progress
from hypothesis import given
from hypothesis import strategies as st

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.integers()),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), 10**5_000, 5e-324, -0.0, object()]),
)


def values(
    done: Any = None, total: Any = None, percent: Any = None, unit: Any = None, message: Any = None, step: Any = None
) -> tuple[Any, ...]:
    return (done, total, percent, unit, message, step)


@pytest.mark.parametrize(
    ("done", "total", "percent"),
    [
        (0, 1000, 0.0),
        (1, 3, 33.3),
        (2, 3, 66.6),
        (29, 1000, 2.9),
        (999, 1000, 99.9),
        (99_999, 100_000, 99.9),
        (1000, 1000, 99.9),
        (2000, 1000, 99.9),
        (-5, 10, 0.0),
        (0, 0, 0.0),
        (5, 0, 0.0),
        (0.5, 1.0, 50.0),
        (5, 5e-324, 99.9),
        (2**62, 2**63 - 1, 50.0),
    ],
)
def test_a_percentage_is_rounded_down_to_one_decimal(done: float, total: float, percent: float) -> None:
    assert Meter(0).read(values(done, total), 1).percent == percent


@given(st.integers(0, 1000))
def test_every_tenth_of_a_percent_is_kept_exactly(tenths: int) -> None:
    assert Meter(0).read(values(tenths, 1000), 1).percent == min(tenths / 10, MAX_PERCENT_RUNNING)


def test_a_reported_percentage_wins_over_a_computed_one() -> None:
    assert Meter(0).read(values(1, 2, percent=12.34), 1).percent == 12.3


@pytest.mark.parametrize(
    ("said", "percent"), [(-3, 0.0), (0, 0.0), (100 * 0.29, 29.0), (99.99, 99.9), (100, 99.9), (1e18, 99.9)]
)
def test_a_percentage_stays_within_its_bounds(said: float, percent: float) -> None:
    assert Meter(0).read(values(percent=said), 1).percent == percent


@given(st.lists(st.tuples(ANYTHING, ANYTHING, ANYTHING), min_size=1, max_size=30))
def test_a_percentage_never_falls(said: list[tuple[Any, Any, Any]]) -> None:
    meter = Meter(0)
    percent = 0.0
    for now_s, (done, total, given_percent) in enumerate(said, 1):
        published = meter.read(values(done, total, given_percent), now_s).percent
        if published is None:
            assert percent == 0.0
            continue
        assert percent <= published <= MAX_PERCENT_RUNNING
        assert published == round(published, 1)
        percent = published


def test_a_growing_total_does_not_lower_the_percentage() -> None:
    meter = Meter(0)
    assert meter.read(values(50, 100), 1).percent == 50.0
    grown = meter.read(values(60, 1_000), 2)
    assert (grown.percent, grown.done, grown.total) == (50.0, 60, 1_000)
    assert meter.read(values(600, 1_000), 3).percent == 60.0


@given(st.tuples(*[ANYTHING] * 6), st.floats(0, 1e9))
def test_whatever_a_handler_reports_can_be_stored_and_sent(said: tuple[Any, ...], now_s: float) -> None:
    meter = Meter(0)
    meter.read(values(0, 1), 0)
    for progress in (meter.read(said, now_s), meter.read(said, now_s + 5)):
        text = json.dumps(progress._asdict(), allow_nan=False, ensure_ascii=False).encode()
        assert b"\\u0000" not in text
        for number in (progress.done, progress.total, progress.eta_s, progress.rate_per_second):
            assert number is None or (math.isfinite(number) and -(2**63) <= number < 2**63) or isinstance(number, float)


@pytest.mark.parametrize("odd", [True, "5", b"5", [5], math.nan, math.inf, -math.inf, 2**63, 10**400, object()])
def test_an_invalid_number_counts_as_unknown(odd: Any) -> None:
    progress = Meter(0).read(values(odd, odd, odd), 9)
    assert (progress.done, progress.total, progress.percent) == (None, None, None)


def test_a_negative_total_counts_as_unknown() -> None:
    progress = Meter(0).read(values(5, -1), 1)
    assert (progress.done, progress.total, progress.percent) == (5, None, None)


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_texts_are_cut_and_cleaned_and_never_stop_the_ticker() -> None:
    progress = Meter(0).read(values(unit="u" * 81, message="m" * 501, step="a\0b\ud800"), 1)
    assert progress.unit == "u" * 54 + "… (cut from 81 characters)"
    assert progress.message == "m" * 473 + "… (cut from 501 characters)"
    assert progress.step == "a�b�"
    assert Meter(0).read(values(message=Unspeakable(), unit=10**5_000, step=7), 1) == Progress(step="7")


def run(meter: Meter, at: Sequence[tuple[float, float]], total: float | None = 1_000) -> Progress:
    """The progress after `done` was reported at each instant."""
    progress = Progress()
    for now_s, done in at:
        progress = meter.read(values(done, total), now_s)
    return progress


def test_the_rate_is_known_after_three_seconds() -> None:
    steady = [(tick / 10, tick) for tick in range(200)]
    early = run(Meter(0), steady[:30])
    assert (early.rate_per_second, early.eta_s) == (None, None)
    late = run(Meter(0), steady[:31])
    assert (late.rate_per_second, late.eta_s) == (10.0, 97)


def test_work_done_by_earlier_attempts_does_not_count_as_speed() -> None:
    """An attempt that resumes at row 500 has not read 500 rows in its first second."""
    resumed = run(Meter(0), [(1 + second, 500 + second) for second in range(10)])
    assert (resumed.rate_per_second, resumed.eta_s) == (1.0, 491)


def test_a_late_first_report_does_not_count_as_speed() -> None:
    late = run(Meter(0), [(60.0, 500), (60.1, 520)])
    assert (late.rate_per_second, late.eta_s) == (None, None)


def test_a_count_that_restarts_is_measured_anew() -> None:
    meter = Meter(0)
    assert run(meter, [(float(second), second * 10) for second in range(20)]).rate_per_second == 10.0
    restarted = meter.read(values(0, 50), 20.0)
    assert (restarted.rate_per_second, restarted.eta_s, restarted.done) == (None, None, 0)
    noisy = meter.read(values(7, 50), 20.1)
    assert (noisy.rate_per_second, noisy.eta_s) == (None, None)
    assert run(meter, [(20 + second, float(second)) for second in range(1, 9)], 50).eta_s == 42


def test_the_time_left_is_steady_under_jitter() -> None:
    """Work of 100 seconds, whose steps take between no time and twice their usual time."""
    for seed in range(20):
        chance = random.Random(seed)
        meter, now_s = Meter(0), 0.0
        errors = []
        for done in range(1_000):
            now_s += chance.uniform(0, 0.2)
            progress = meter.read(values(done, 1_000), now_s)
            if done > 100 and progress.eta_s is not None:
                errors.append(abs(progress.eta_s - (1_000 - done) / 10))
        assert max(errors) <= 25
        assert sum(errors) / len(errors) <= 8


def ends(steps_at: Sequence[float], until_s: float, total: float) -> list[float]:
    """The announced end of the work, read every tenth of a second: a step at each instant, and always a new message."""
    meter, said = Meter(0), []
    for tick in range(int(until_s * 10)):
        done = sum(1 for at in steps_at if at <= tick / 10)
        progress = meter.read(values(done, total, message=f"message {tick}"), tick / 10)
        if progress.eta_s is not None:
            said.append(tick / 10 + progress.eta_s)
    return said


@pytest.mark.parametrize("step_s", [0.1, 0.7, 5.0, 30.0])
def test_the_time_left_counts_down_between_steps(step_s: float) -> None:
    whole_s = step_s * 50
    said = ends([step_s * (number + 1) for number in range(50)], whole_s, 50)
    assert said
    assert all(whole_s - 0.001 <= end <= whole_s + 1.001 for end in said)


def test_steps_of_varying_length_cause_no_large_jumps() -> None:
    """Twenty steps of five seconds on average, each between half and one and a half of that."""
    for seed in range(20):
        chance = random.Random(seed)
        steps_at = list(itertools.accumulate(chance.uniform(2.5, 7.5) for _ in range(20)))
        said = ends(steps_at, steps_at[-1], 20)[200:]  # not before a few steps
        assert max(abs(after - before) for before, after in itertools.pairwise(said)) <= 30
        assert sum(abs(end - steps_at[-1]) for end in said) / len(said) <= 15


def test_an_overdue_step_lengthens_the_time_left_gradually() -> None:
    said = ends([5.0 * (number + 1) for number in range(4)], 100, 20)
    late = said[-700::10]  # the fifth step never comes; the end is announced in whole seconds
    assert all(-1 <= after - before <= 25 for before, after in itertools.pairwise(late))
    assert late[0] < 120
    assert late[-1] > 200


def test_a_change_of_pace_is_followed() -> None:
    meter = Meter(0)
    run(meter, [(float(second), second * 100) for second in range(60)], 100_000)
    slow = run(meter, [(60.0 + second, 6_000 + second) for second in range(60)], 100_000)
    assert slow.rate_per_second is not None
    assert slow.rate_per_second < 2


def test_a_clock_that_does_not_advance_is_harmless() -> None:
    meter = Meter(0)
    run(meter, [(0.0, 0), (5.0, 50)])
    assert run(meter, [(5.0, 60), (5.0, 70), (4.0, 80)]).rate_per_second == 10.0


def test_without_units_the_percentage_gives_the_time_left() -> None:
    meter = Meter(0)
    for second in range(11):
        progress = meter.read(values(percent=second), float(second))
    assert (progress.rate_per_second, progress.eta_s, progress.percent) == (None, 90, 10.0)


def test_without_a_total_there_is_a_rate_and_no_time_left() -> None:
    progress = run(Meter(0), [(float(second), second * 5) for second in range(10)], None)
    assert (progress.rate_per_second, progress.eta_s, progress.percent) == (5.0, None, None)


def test_a_rate_has_three_significant_digits() -> None:
    assert run(Meter(0), [(0, 0), (9, 1234)], None).rate_per_second == 137.0
    assert run(Meter(0), [(0, 0), (9, 123)], None).rate_per_second == 13.7


def test_stalled_work_has_no_time_left() -> None:
    assert run(Meter(0), [(float(second), 5) for second in range(10)]).eta_s is None


def test_an_excessive_time_left_is_unknown() -> None:
    progress = run(Meter(0), [(0.0, 0), (10.0, 1e-9)], 1e18)
    assert progress.eta_s is None
    assert run(Meter(0), [(0.0, 0), (10.0, 1)], MAX_ETA_S / 20).eta_s is not None


def test_the_median_run_time_is_shown_before_there_is_progress() -> None:
    meter = Meter(0, median_s=41.2)
    assert meter.initial() == Progress(eta_s=42)
    assert meter.read(values(message="opening"), 1).eta_s == 42
    assert meter.read(values(5, 100), 2).eta_s is None
    assert Meter(0).initial() == Progress()


def test_a_report_is_taken_once() -> None:
    reported = Reported()
    assert reported.take() is None
    reported.put(values(1, 2, message="x"))
    assert reported.take() == values(1, 2, message="x")
    assert reported.take() is None
