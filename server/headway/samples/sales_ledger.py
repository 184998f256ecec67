"""The ledger that `sales-report` reads: 500,000 made-up orders, the same on every machine, one CSV file per month."""

import calendar
import fcntl
import os
import shutil
from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Final

from headway import BlockingContext

ORDERS: Final = 500_000
YEARS: Final = range(2020, 2027)
MONTHS: Final = tuple(f"{year}-{month:02}" for year in YEARS for month in range(1, 13))
COLUMNS: Final = ("order", "date", "region", "product", "units", "cents")

_REGIONS: Final = {"North": 22, "South": 16, "East": 12, "West": 26, "Overseas": 9, "Online": 34}
_PRODUCTS: Final = {  # unit price in cents, and how often it is bought
    "Anvil": (18_900, 3), "Bellows": (7_450, 4), "Compass": (3_295, 11), "Drill": (12_900, 8), "Easel": (5_990, 6),
    "Funnel": (495, 19), "Gauge": (2_150, 12), "Hammer": (1_890, 17), "Iron": (4_400, 7), "Jack": (8_800, 5),
    "Kettle": (3_950, 14), "Lantern": (2_690, 15),
}  # fmt: skip
_SEASON: Final = (0.8, 0.78, 0.95, 1.0, 1.05, 1.02, 0.9, 0.88, 1.0, 1.1, 1.35, 1.5)
"""A month's sales relative to the year's mean; each year adds a tenth of the first."""


def open_ledger(ctx: BlockingContext) -> Path:
    """Return the ledger's directory. The first job that needs it creates it; others wait.

    It gets its name once it is complete and on disk: after a crash there is no ledger, and the next job starts
    over. The name carries a version: a ledger with different orders would be `ledger-3`.
    """
    ledger = ctx.data_dir / "ledger-2"
    if not ledger.exists():
        ctx.progress(step="waiting for the ledger")
        with _locked(ctx.data_dir / "ledger.lock"):
            if not ledger.exists():
                _create(ctx, ledger)
    return ledger


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for the lock and hold it. The kernel releases it however this process ends (flock(2))."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _create(ctx: BlockingContext, ledger: Path) -> None:
    unfinished = ledger.with_name("unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a process that was killed
    unfinished.mkdir()
    chance = Random("Headway's ledger")  # noqa: S311 - reproducible, not secret
    weights = [season * (1 + 0.1 * year) for year in range(len(YEARS)) for season in _SEASON]
    ends = [round(ORDERS * share) for share in _shares(weights)]
    for month, first, end in zip(MONTHS, [0, *ends], ends, strict=False):
        ctx.raise_if_cancelled()
        ctx.progress(
            step="creating the ledger", message=f"{first:,} of {ORDERS:,} orders"
        )  # no bar: it belongs to the report
        with (unfinished / f"{month}.csv").open("w", encoding="utf-8", newline="\n") as file:
            file.write(",".join(COLUMNS) + "\n")
            file.writelines(_orders(chance, month, range(first, end)))
            file.flush()
            os.fsync(file.fileno())
    _sync(unfinished)
    unfinished.rename(ledger)
    _sync(ledger.parent)
    shutil.rmtree(ledger.with_name("ledger-1"), ignore_errors=True)  # shorter: it began in 2024
    ctx.log(f"the ledger was created: {ORDERS:,} orders in {len(MONTHS)} months")


def _orders(chance: Random, month: str, numbers: range) -> Iterator[str]:
    """Make up a month's orders, sorted by day. Only `random()` draws the same in every version of Python."""
    days = calendar.monthrange(int(month[:4]), int(month[5:]))[1]
    regions, region_shares = list(_REGIONS), _shares(list(_REGIONS.values()))
    products, product_shares = list(_PRODUCTS), _shares([often for _, often in _PRODUCTS.values()])
    draw = chance.random
    for number, day in zip(numbers, sorted(1 + int(draw() * days) for _ in numbers), strict=True):
        product = products[bisect(product_shares, draw())]
        units = 1 + int(5 * draw() ** 3)
        cents = units * int(_PRODUCTS[product][0] * (1 - 0.25 * draw() ** 4))  # some get a discount
        yield f"{number + 1},{month}-{day:02},{regions[bisect(region_shares, draw())]},{product},{units},{cents}\n"


def _shares(weights: Sequence[float]) -> list[float]:
    """Return the cumulative shares, the last of which is 1."""
    total = sum(weights)
    return [*(so_far / total for so_far in list(accumulate(weights))[:-1]), 1.0]


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
