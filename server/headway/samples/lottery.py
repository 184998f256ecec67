"""`lottery`: draws six of 49 balls many times, and checks with a chi-square test that the draw is fair."""

import math
import secrets
from collections import Counter
from random import Random
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from headway import BlockingContext, job

NUMBERS: Final = 49
DRAWN: Final = 6
_BATCH: Final = 2_000
_SUSPICIOUS: Final = 0.001
_SEEDS: Final = 2**53  # the integers that JavaScript represents exactly


class Lottery(BaseModel):
    """How many times to draw six of 49 balls, and from which seed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"draws": 2_000_000, "seed": 42}]})

    draws: int = Field(
        default=2_000_000,
        ge=100,
        le=50_000_000,
        title="Draws",
        description="The last draw is the result; all are checked for fairness.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=_SEEDS,
        title="Seed",
        description="The same seed draws the same numbers. Random if omitted.",
    )


class Draw(BaseModel):
    """The last draw, and whether all of them look fair."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    numbers: list[int] = Field(description="Ascending")
    draws: int
    seed: int = Field(description="Reproduces this draw")
    most_drawn: int
    least_drawn: int
    chi_square: float
    degrees_of_freedom: int
    p_value: float = Field(description="Probability that fair draws are at least as uneven")
    fair: bool


@job("lottery", title="Draw the lottery")
def lottery(ctx: BlockingContext, input: Lottery) -> Draw:
    """Draws six of 49 balls, again and again, and tests whether each comes up as often as it should."""
    seed = secrets.randbelow(_SEEDS) if input.seed is None else input.seed
    chance = Random(seed)  # noqa: S311 - nothing can be won
    balls = list(range(1, NUMBERS + 1))
    counts: Counter[int] = Counter()
    drawn: list[int] = []
    for first in range(0, input.draws, _BATCH):
        ctx.raise_if_cancelled()
        batch = min(_BATCH, input.draws - first)
        for _ in range(batch):
            drawn = draw(balls, chance)
            counts.update(drawn)
        ctx.progress(first + batch, input.draws, unit="draws", step="drawing")
    ctx.progress(step="checking")
    ranked = [number for number, _ in counts.most_common()]
    statistic = chi_square([counts[ball] for ball in balls], input.draws)
    p_value = chi_square_tail(statistic, NUMBERS - 1)
    return Draw(
        numbers=sorted(drawn),
        draws=input.draws,
        seed=seed,
        most_drawn=ranked[0],
        least_drawn=ranked[-1],
        chi_square=round(statistic, 3),
        degrees_of_freedom=NUMBERS - 1,
        p_value=round(p_value, 6),
        fair=p_value >= _SUSPICIOUS,
    )


def draw(balls: list[int], chance: Random) -> list[int]:
    """Shuffle the first six places (Fisher-Yates) and return their balls. `balls` stays shuffled."""
    for place in range(DRAWN):
        other = place + int(chance.random() * (NUMBERS - place))
        balls[place], balls[other] = balls[other], balls[place]
    return balls[:DRAWN]


def chi_square(counts: list[int], draws: int) -> float:
    """Return how unevenly the balls came up: chi-square with 48 degrees of freedom if the draw is fair.

    The six balls of a draw are distinct, which makes the counts more even than independent ones would be.
    Pearson's sum is therefore scaled by (n - 1) / (n - k): Joe, Tests of uniformity for sets of lotto numbers, 1993.
    """
    expected = draws * DRAWN / NUMBERS
    pearson = sum((count - expected) ** 2 for count in counts) / expected
    return pearson * (NUMBERS - 1) / (NUMBERS - DRAWN)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Return the probability of at least this statistic: Q(degrees/2, statistic/2), the upper incomplete gamma.

    By series below the mean and by Lentz's continued fraction above it: Numerical Recipes, section 6.2.
    """
    a, x = degrees / 2, statistic / 2
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        return max(0.0, 1 - scale * _lower_series(a, x))
    return scale * _upper_fraction(a, x)


def _lower_series(a: float, x: float) -> float:
    term = total = 1 / a
    n = a
    while term > total * 1e-15:
        n += 1
        term *= x / n
        total += term
    return total


def _upper_fraction(a: float, x: float) -> float:
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    fraction, step = d, 0.0
    i = 0
    while abs(step - 1) > 1e-15:  # noqa: PLR2004 - the precision of a float
        i += 1
        factor = -i * (i - a)
        b += 2
        d = 1 / ((factor * d + b) or tiny)
        c = (b + factor / c) or tiny
        step = c * d
        fraction *= step
    return fraction
