"""Pairs of measurements of two trees, interleaved: what is printed meanwhile, and the table at the end.

Each benchmark runs as many pairs of before and after as pairs of before and before, alternately, so that both meet the
same conditions. Every measurement starts a new process, because processes of identical code differ more than one
process does from minute to minute. The order within a pair alternates, so that a machine that slows down favours
neither side. Before/before is the noise: the difference that this machine measures between identical code.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from ..report import Table
from .checkout import checked_out, described, root
from .plays import BENCHMARKS, Benchmark, Played
from .ratios import NOTHING_LOST, Ratio, ratio_of

Pair = tuple[Played, Played]
"""What is compared: the reference (always a measurement of before), and the other."""

DEFAULT_PAIRS = 15
DEFAULT_SECONDS = 2.0


@dataclass
class Comparison:
    """The pairs of one benchmark that have been measured so far."""

    name: str
    changes: list[Pair] = field(default_factory=list)
    """Before and after."""
    noises: list[Pair] = field(default_factory=list)
    """Before and before."""

    @property
    def change(self) -> Ratio:
        """After/before."""
        return ratio_of([(before.per_second, after.per_second) for before, after in self.changes])

    @property
    def noise(self) -> Ratio:
        """Before/before."""
        return ratio_of([(first.per_second, second.per_second) for first, second in self.noises])

    @property
    def verdict(self) -> str:
        return "nothing lost" if self.change.nothing_lost else "slower"

    def line(self) -> str:
        """The last pair of each kind."""
        before, after = self.changes[-1]
        first, second = self.noises[-1]
        return (
            f"{self.name} {len(self.changes)}: before {before.per_second:,.0f}/s, after {after.per_second:,.0f}/s, "
            f"after/before {after.per_second / before.per_second:.3f}, "
            f"before/before {second.per_second / first.per_second:.3f}"
        )

    def row(self) -> dict[str, Any]:
        before, after = zip(*self.changes, strict=True)
        cpu = median(after.cpu_us_each / before.cpu_us_each for before, after in self.changes)
        return {
            "benchmark": self.name,
            "before/s": median(played.per_second for played in before),
            "after/s": median(played.per_second for played in after),
            "after/before": f"{self.change.median:.3f}",
            "interval": self.change.interval,
            "before/before": f"{self.noise.median:.3f}",
            "its interval": self.noise.interval,
            "CPU each, after/before": f"{cpu:.3f}",
            "verdict": self.verdict,
        }


def compare(
    commit: str, names: Sequence[str], pairs: int = DEFAULT_PAIRS, seconds: float = DEFAULT_SECONDS
) -> list[Comparison]:
    """Compare the working tree with a commit, and print each pair.

    Raises:
        CheckoutError: the commit cannot be checked out.

    """
    print(f"before: {described(commit)}\nafter: the working tree at {described('HEAD')}", flush=True)
    after = root()
    with checked_out(commit) as before, tempfile.TemporaryDirectory(dir=after, prefix=".headway-against-") as disk:
        players = {name: _player(BENCHMARKS[name], seconds, Path(disk)) for name in names}
        compared = [_compared(name, play, before, after, pairs) for name, play in players.items()]
    print(table(compared, pairs, seconds).text(), flush=True)
    return compared


def table(compared: Sequence[Comparison], pairs: int, seconds: float) -> Table:
    """All comparisons, with what the columns mean."""
    confidence = compared[0].change.confidence
    return Table(
        f"After against before, {pairs} interleaved pairs of {seconds:g} s a measurement",
        rows=[one.row() for one in compared],
        notes=[
            *(f"{one.name}: {BENCHMARKS[one.name].counts}" for one in compared),
            f"The intervals hold the true median with {100 * confidence:.3g} % confidence (sign test).",
            f"Nothing is lost if the interval of after/before reaches {NOTHING_LOST:g}.",
        ],
    )


def _player(benchmark: Benchmark, seconds: float, disk: Path) -> Callable[[Path], Played]:
    return lambda tree: benchmark.play(tree, seconds, disk)


def _compared(name: str, play: Callable[[Path], Played], before: Path, after: Path, pairs: int) -> Comparison:
    found = Comparison(name)
    for number in range(pairs):
        other_first = number % 2 == 1
        found.changes.append(in_turn(play, before, after, other_first=other_first))
        found.noises.append(in_turn(play, before, before, other_first=other_first))
        print(found.line(), flush=True)
    return found


def in_turn(play: Callable[[Path], Played], reference: Path, other: Path, *, other_first: bool) -> Pair:
    """Measure one pair in this order; in the result the reference comes first either way."""
    if other_first:
        second = play(other)
        return play(reference), second
    return play(reference), play(other)
