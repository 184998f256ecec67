"""The lottery: its statistics against published figures, and its draw against its own check."""

from collections import Counter
from random import Random

import pytest
from headway.samples.lottery import NUMBERS, Lottery, chi_square, chi_square_tail, draw, lottery
from headway.testing import run
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("degrees", "statistic", "p_value"),
    [
        # The usual table of critical values (NIST/SEMATECH e-Handbook, 1.3.6.7.4).
        (1, 3.841, 0.05),
        (1, 6.635, 0.01),
        (5, 11.070, 0.05),
        (10, 2.558, 0.99),
        (48, 65.171, 0.05),
        (48, 73.683, 0.01),
        (48, 33.098, 0.95),
        (100, 149.449, 0.001),
    ],
)
def test_the_p_value_agrees_with_the_published_table(degrees: int, statistic: float, p_value: float) -> None:
    assert chi_square_tail(statistic, degrees) == pytest.approx(p_value, rel=2e-3)


def test_two_degrees_of_freedom_are_an_exponential_distribution() -> None:
    for tenths in range(1, 600):
        assert chi_square_tail(tenths / 10, 2) == pytest.approx(2.718281828459045 ** (-tenths / 20), rel=1e-11)


def test_perfectly_even_counts_have_a_p_value_of_one() -> None:
    assert chi_square_tail(chi_square([6] * NUMBERS, NUMBERS), NUMBERS - 1) == 1.0


def test_a_draw_is_six_distinct_balls_and_loses_none() -> None:
    chance, balls = Random(1), list(range(1, NUMBERS + 1))
    for _ in range(1000):
        assert len(set(draw(balls, chance))) == 6
    assert sorted(balls) == list(range(1, NUMBERS + 1))


def test_the_statistic_of_fair_draws_is_chi_square_distributed() -> None:
    """Its mean is the degrees of freedom; without the correction it would be off by an eighth."""
    chance, balls = Random(2), list(range(1, NUMBERS + 1))
    statistics = []
    for _ in range(300):
        counts = Counter(ball for _ in range(200) for ball in draw(balls, chance))
        statistics.append(chi_square([counts[ball] for ball in range(1, NUMBERS + 1)], 200))
    assert sum(statistics) / 300 == pytest.approx(48, abs=4 * (2 * 48 / 300) ** 0.5)


def test_a_biased_draw_is_detected() -> None:
    counts = [1200] * NUMBERS
    counts[0] += 600
    assert chi_square_tail(chi_square(counts, 9900), NUMBERS - 1) < 1e-6


def test_the_same_seed_draws_the_same_numbers() -> None:
    first, again, other = (run(lottery, Lottery(draws=5_000, seed=seed)).result for seed in (7, 7, 8))
    assert again == first
    assert other != first


def test_without_a_seed_the_result_contains_one_that_reproduces_the_draw() -> None:
    result = run(lottery, Lottery(draws=100)).result
    assert run(lottery, Lottery(draws=100, seed=result.seed)).result == result


def test_the_result_says_whether_the_draw_was_fair() -> None:
    ran = run(lottery, Lottery(draws=20_000, seed=1))
    result = ran.result
    assert result.fair
    assert 0.001 < result.p_value < 1
    assert len(result.numbers) == 6
    assert (ran.progress[-1].done, ran.progress[-1].total) == (20_000, 20_000)
    assert ran.json["degreesOfFreedom"] == 48


@pytest.mark.parametrize("bad", [{"draws": 0}, {"draws": 10**12}, {"seed": -1}, {"draws": 1.5}])
def test_numbers_out_of_range_are_rejected(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Lottery.model_validate(bad)


def test_a_cancelled_lottery_stops() -> None:
    ran = run(lottery, Lottery(draws=100_000), cancel_when=lambda _: True)
    assert (ran.status, ran.json) == ("cancelled", None)
