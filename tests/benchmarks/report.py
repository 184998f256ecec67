"""The parameters of a benchmark, and its results as tables."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Play:
    """How to run: the number of rounds whose medians are taken, and which sides (if empty, all)."""

    rounds: int
    sides: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Target:
    """A limit for a figure; `value` is `None` if it could not be measured here."""

    name: str
    value: float | None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the limit is met; `None` if that is unknown."""
        if self.value is None:
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def row(self) -> dict[str, Any]:
        wanted = f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"
        met = {True: "met", False: "MISSED", None: "not measured"}[self.met]
        return {"target": self.name, "wanted": wanted, "measured": self.value, "": met}


@dataclass
class Table:
    """Named rows of figures with a title, notes on what could not run, and the targets."""

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def add(self, **figures: Any) -> None:
        self.rows.append(figures)

    def expect(
        self, name: str, value: float | None, *, at_least: float | None = None, at_most: float | None = None
    ) -> None:
        """Compare a figure with its target."""
        self.targets.append(Target(name, value, at_least, at_most))

    def text(self) -> str:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        cells = [names, *([_cell(row.get(name)) for name in names] for row in self.rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
        return "\n".join([f"\n{self.title}", *lines, *self.notes])

    def json(self) -> dict[str, Any]:
        targets = [
            {"target": one.name, "value": one.value, "atLeast": one.at_least, "atMost": one.at_most, "met": one.met}
            for one in self.targets
        ]
        return {"title": self.title, "rows": self.rows, "notes": self.notes, "targets": targets}


def summary(tables: list[Table]) -> Table:
    """The targets of all tables in one table."""
    return Table("Targets", rows=[target.row() for table in tables for target in table.targets])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 100
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median_of(found: list[dict[str, Any]], figure: str) -> float | None:
    """The median of one figure over the rounds; `None` if a round has none."""
    values = [one[figure] for one in found]
    return None if not values or None in values else median(map(float, values))


def median_ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], figure: str) -> float | None:
    """The median over the rounds of one side's figure by another's in the same round."""
    pairs = [(one[figure], other[figure]) for one, other in zip(ours, theirs, strict=True)]
    if not pairs or any(value is None for pair in pairs for value in pair):
        return None
    return median(float(one / other) for one, other in pairs)
