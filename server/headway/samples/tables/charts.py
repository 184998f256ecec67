"""The charts of a CSV report's page as SVG, and its numbers formatted for readers."""

from collections.abc import Sequence
from html import escape
from math import floor, log10
from typing import Final

from .findings import Histogram, TopValue
from .kinds import Shown

_WIDTH: Final = 320
_HEIGHT: Final = 96
_DIGITS: Final = 6
_PLAIN: Final = (1e-4, 1e15)  # outside this range an exponent is easier to read
_MINUTES: Final = len("2026-03-31T12:00")


def histogram_svg(histogram: Histogram) -> str:
    """Draw the bars, each with its range and count as a tooltip."""
    step = _WIDTH / len(histogram.counts)
    tallest = max(histogram.counts)
    bars = []
    for position, count in enumerate(histogram.counts):
        # Every bar that is not empty is visible, however small.
        height = max(1.5, count / tallest * _HEIGHT) if count else 0.0
        low, high = histogram.edges[position : position + 2]
        bars.append(
            f'<rect x="{position * step + 0.5:.1f}" y="{_HEIGHT - height:.1f}" width="{step - 1:.1f}" '
            f'height="{height:.1f}" rx="1"><title>{shown(low)} to {shown(high)}: {count:,}</title></rect>'
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 18}" role="img" aria-label="Histogram">{"".join(bars)}'
        f'<rect class="base" x="0" y="{_HEIGHT}" width="{_WIDTH}" height="1"/>'
        f'<text x="0" y="{_HEIGHT + 14}">{shown(histogram.edges[0])}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 14}" text-anchor="end">{shown(histogram.edges[-1])}</text></svg>'
    )


def bars_svg(top: Sequence[TopValue], rows: int) -> str:
    """Draw the most frequent values as bars, as long as they are frequent."""
    line_height, label_chars = 20, 34
    most = max(value.count for value in top)
    parts = []
    for position, value in enumerate(top):
        y = position * line_height
        label = value.value if len(value.value) <= label_chars else value.value[: label_chars - 1] + "…"
        share = f"{value.count:,} ({percentage(value.count, rows)})"
        parts.append(
            f'<rect class="tint" x="0" y="{y}" width="{value.count / most * _WIDTH:.1f}" '
            f'height="{line_height - 3}" rx="3"><title>{escape(value.value)}</title></rect>'
            f'<text class="value" x="5" y="{y + 12.5}">{escape(label)}</text>'
            f'<text x="{_WIDTH - 4}" y="{y + 12.5}" text-anchor="end">{share}</text>'
        )
    opening = f'<svg viewBox="0 0 {_WIDTH} {len(top) * line_height}" role="img" aria-label="Most frequent values">'
    return f"{opening}{''.join(parts)}</svg>"


def shown(value: Shown | None) -> str:
    """Return a value with about six digits, escaped; an instant without its seconds."""
    if value is None:
        return ""
    if isinstance(value, str):
        return escape(value[:_MINUTES].replace("T", " "))
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    if not _PLAIN[0] <= abs(value) < _PLAIN[1]:
        return f"{value:.6g}"
    decimals = max(0, _DIGITS - 1 - floor(log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def counted(number: int, noun: str) -> str:
    """Return `1 row` or `2 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percentage(part: int, whole: int) -> str:
    """Return a share as a percentage."""
    share = part / whole if whole else 0.0
    return "< 0.1 %" if 0 < share < 0.001 else f"{share * 100:.1f} %"  # noqa: PLR2004


def size_of(size_bytes: int) -> str:
    """Return a size in the largest decimal unit that fits."""
    size = float(size_bytes)
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:  # noqa: PLR2004
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
