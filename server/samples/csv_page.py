"""The CSV report as one HTML file: no script, no request, everything escaped, for light and dark screens."""

from collections.abc import Iterator, Sequence
from html import escape
from math import floor, log10
from pathlib import Path
from typing import Final, Protocol

from .csv_kinds import Shown
from .csv_profile import ColumnReport, Histogram, TopValue

_WIDTH: Final = 320
_HEIGHT: Final = 96
_DIGITS: Final = 6
_PLAIN: Final = (1e-4, 1e15)  # outside an exponent is easier to read
_MINUTES: Final = len("2026-03-31T12:00")
_DELIMITER_NAMES: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}

_STYLE: Final = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #fff; --ink: #1b2430; --soft: #5c6b7e;
  --line: #dfe4ea; --bar: #3b6fd4; --tint: #e7eefb; --warn: #a15c00; }
@media (prefers-color-scheme: dark) { :root { --paper: #12161c; --card: #1a2029; --ink: #e6ebf2;
  --soft: #98a6b8; --line: #2c3542; --bar: #6f9df5; --tint: #223150; --warn: #f0b45b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { margin: 0; font-size: 26px; overflow-wrap: anywhere; }
h2 { margin: 0; font-size: 16px; overflow-wrap: anywhere; }
.facts { color: var(--soft); margin: 4px 0 24px; }
.facts b { color: var(--ink); font-size: 18px; }
.note { color: var(--warn); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 14px; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
td { max-width: 260px; overflow: hidden; text-overflow: ellipsis; }
tr:last-child td { border-bottom: 0; }
th { color: var(--soft); font-weight: 500; font-size: 13px; }
.n { text-align: right; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 16px;
  margin-top: 24px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; }
.head { display: flex; justify-content: space-between; align-items: baseline; gap: 12px; }
.type { background: var(--tint); border-radius: 99px; padding: 1px 10px; font-size: 12px;
  white-space: nowrap; }
.card p { margin: 4px 0 0; color: var(--soft); font-size: 13px; }
.card .note { color: var(--warn); }
svg { display: block; width: 100%; height: auto; margin-top: 12px; }
svg rect { fill: var(--bar); } svg .base { fill: var(--line); } svg .tint { fill: var(--tint); }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; } svg .value { fill: var(--ink); }
footer { margin-top: 32px; color: var(--soft); font-size: 13px; max-width: 75ch; }
"""


class PageContent(Protocol):
    """What the page shows of a report."""

    filename: str
    size_bytes: int
    rows: int
    columns: list[ColumnReport]
    delimiter: str
    encoding: str
    repaired_lines: int
    ragged_rows: int
    quantile_rank_error: float
    distinct_relative_error: float


def write_page(report: PageContent, path: Path) -> None:
    """Write the page piece by piece: a thousand columns are a few megabytes."""
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.writelines(_page(report))


def _page(report: PageContent) -> Iterator[str]:
    title = escape(report.filename)
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>\n<h1>{title}</h1>\n"
    )
    yield _facts(report)
    if report.columns:
        yield from _table(report)
        yield '<div class="cards">\n'
        for column in report.columns:
            yield _card(column, report.rows)
        yield "</div>\n"
    yield _method(report) + "</main></body></html>\n"


def _facts(report: PageContent) -> str:
    delimiter = _DELIMITER_NAMES.get(report.delimiter, report.delimiter)
    facts = (
        f"<b>{_count(report.rows, 'row')}</b>",
        _count(len(report.columns), "column"),
        _size(report.size_bytes),
        escape(f"{report.encoding.upper()}, separated by {delimiter}"),
    )
    html = f'<p class="facts">{" · ".join(facts)}</p>\n'
    if report.ragged_rows:
        ragged = _count(report.ragged_rows, "row")
        html += f'<p class="note">{ragged} with more or fewer cells than the header</p>\n'
    if report.repaired_lines:
        repaired = _count(report.repaired_lines, "line")
        html += f'<p class="note">{repaired} not in UTF-8, read as Windows-1252</p>\n'
    return html


def _table(report: PageContent) -> Iterator[str]:
    yield (
        '<div class="scroll"><table><thead><tr><th>Column</th><th>Type</th><th class="n">Missing</th>'
        '<th class="n">Distinct</th><th class="n">Minimum</th><th class="n">Median</th>'
        '<th class="n">Maximum</th></tr></thead><tbody>\n'
    )
    for column in report.columns:
        median = column.quantiles.p50 if column.quantiles else None
        counts = (_missing(column, report.rows), _distinct(column))
        cells = "".join(
            f'<td class="n">{cell}</td>' for cell in (*counts, *map(_shown, (column.min, median, column.max)))
        )
        yield f"<tr><td>{escape(column.name)}</td><td>{escape(column.type)}</td>{cells}</tr>\n"
    yield "</tbody></table></div>\n"


def _card(column: ColumnReport, rows: int) -> str:
    lines = [f"{_distinct(column)} distinct · {_missing(column, rows)} missing"]
    if column.mean is not None:
        deviation = "" if column.deviation is None else f" · deviation {_shown(column.deviation)}"
        lines.append(f"mean {_shown(column.mean)}{deviation}")
    if column.quantiles is not None:
        low, middle, high = map(_shown, (column.quantiles.p05, column.quantiles.p50, column.quantiles.p95))
        lines.append(f"5 % {low} · 50 % {middle} · 95 % {high}")
    if column.form:
        lines.append(f"written as {escape(column.form)}")
    if column.type == "text":
        lines.append(f"longest value {_count(column.longest, 'character')}")
    html = "".join(f"<p>{line}</p>" for line in lines)
    if column.misfits:
        html += f'<p class="note">{_count(column.misfits, "value")} not of this type</p>'
    if column.histogram is not None and len(column.histogram.counts) > 1:
        html += _histogram(column.histogram)
    elif column.top:
        html += _bars(column.top, rows)
    kind = f'<span class="type">{escape(column.type)}</span>'
    head = f'<div class="head"><h2>{escape(column.name)}</h2>{kind}</div>'
    return f'<section class="card">{head}{html}</section>\n'


def _histogram(histogram: Histogram) -> str:
    step = _WIDTH / len(histogram.counts)
    tallest = max(histogram.counts)
    bars = []
    for position, count in enumerate(histogram.counts):
        # A bar that is not empty can be seen, however small.
        height = max(1.5, count / tallest * _HEIGHT) if count else 0.0
        low, high = histogram.edges[position : position + 2]
        bars.append(
            f'<rect x="{position * step + 0.5:.1f}" y="{_HEIGHT - height:.1f}" width="{step - 1:.1f}" '
            f'height="{height:.1f}" rx="1"><title>{_shown(low)} to {_shown(high)}: {count:,}</title></rect>'
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 18}" role="img" aria-label="Histogram">{"".join(bars)}'
        f'<rect class="base" x="0" y="{_HEIGHT}" width="{_WIDTH}" height="1"/>'
        f'<text x="0" y="{_HEIGHT + 14}">{_shown(histogram.edges[0])}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 14}" text-anchor="end">{_shown(histogram.edges[-1])}</text></svg>'
    )


def _bars(top: Sequence[TopValue], rows: int) -> str:
    line_height, label_chars = 20, 34
    most = max(value.count for value in top)
    parts = []
    for position, value in enumerate(top):
        y = position * line_height
        label = value.value if len(value.value) <= label_chars else value.value[: label_chars - 1] + "…"
        share = f"{value.count:,} ({_percent(value.count, rows)})"
        parts.append(
            f'<rect class="tint" x="0" y="{y}" width="{value.count / most * _WIDTH:.1f}" '
            f'height="{line_height - 3}" rx="3"><title>{escape(value.value)}</title></rect>'
            f'<text class="value" x="5" y="{y + 12.5}">{escape(label)}</text>'
            f'<text x="{_WIDTH - 4}" y="{y + 12.5}" text-anchor="end">{share}</text>'
        )
    opening = f'<svg viewBox="0 0 {_WIDTH} {len(top) * line_height}" role="img" aria-label="Most frequent values">'
    return f"{opening}{''.join(parts)}</svg>"


def _method(report: PageContent) -> str:
    return (
        "<footer><p>Missing: an empty cell, NA, N/A, NULL, None, NaN. Distinct: different as written. "
        "“≈” is an estimate from the smallest hashes, with a standard error of "
        f"{report.distinct_relative_error:.1%}; such a column's quantiles and histogram come from a KLL "
        f"sketch, whose ranks are within {report.quantile_rank_error:.2%} (at 99 %), and its most frequent "
        "values are at least as frequent as stated. Everything else is exact. "
        "The outer bars of a histogram take in the outliers.</p></footer>\n"
    )


def _missing(column: ColumnReport, rows: int) -> str:
    return f"{column.missing:,} ({_percent(column.missing, rows)})" if column.missing else "0"


def _distinct(column: ColumnReport) -> str:
    return f"{'' if column.distinct_exact else '≈ '}{column.distinct:,}"


def _shown(value: Shown | None) -> str:
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


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _percent(part: int, whole: int) -> str:
    share = part / whole if whole else 0.0
    return "< 0.1 %" if 0 < share < 0.001 else f"{share * 100:.1f} %"  # noqa: PLR2004


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:  # noqa: PLR2004
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
