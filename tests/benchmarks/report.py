"""What a benchmark prints."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Table:
    """Named rows of figures under one title."""

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, **figures: Any) -> None:
        self.rows.append(figures)

    def text(self) -> str:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        cells = [names, *([_cell(row.get(name)) for name in names] for row in self.rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
        return "\n".join([f"\n{self.title}", *lines])


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
    """The smallest value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
