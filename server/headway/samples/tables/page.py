"""The CSV report as one self-contained HTML file without scripts, everything escaped, for light and dark screens."""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final

from .charts import bars_svg, counted, histogram_svg, percentage, shown, size_of
from .findings import ColumnReport, Duplicates, Format, Report

_FORMATS: Final = 6
_CELL_CHARS: Final = 60
_EXAMPLE_CHARS: Final = 24
_WORTH_SHOWING: Final = 0.1
_CORRELATIONS: Final = 10
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
.few { margin-top: 12px; }
.few th, .few td { padding: 3px 8px 3px 0; font-size: 13px; border: 0; }
.few td { max-width: 0; }
.few .n { padding-right: 0; width: 112px; }
code { font: 12px ui-monospace, monospace; background: var(--tint); border-radius: 4px; padding: 1px 5px;
  white-space: pre; }
.soft { color: var(--soft); }
h2.part { margin: 32px 0 8px; font-size: 18px; }
.part + p { margin-top: 0; }
.scroll .wrap { white-space: normal; overflow-wrap: anywhere; max-width: none; min-width: 200px; }
.scroll .lines { white-space: normal; min-width: 76px; }
svg { display: block; width: 100%; height: auto; margin-top: 12px; }
svg rect { fill: var(--bar); } svg .base { fill: var(--line); } svg .tint { fill: var(--tint); }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; } svg .value { fill: var(--ink); }
footer { margin-top: 32px; color: var(--soft); font-size: 13px; max-width: 75ch; }
"""


def write_page(report: Report, path: Path) -> None:
    """Write the page piece by piece: with a thousand columns it has a few megabytes."""
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.writelines(_page(report))


def _page(report: Report) -> Iterator[str]:
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
        yield _correlations(report)
        yield _repeated(report.duplicates, "Duplicate rows")
        if report.near_duplicates is not None:
            yield _repeated(report.near_duplicates, f"Rows that differ only in “{report.near_duplicates.key}”")
    yield _method(report) + "</main></body></html>\n"


def _facts(report: Report) -> str:
    delimiter = _DELIMITER_NAMES.get(report.delimiter, report.delimiter)
    facts = (
        f"<b>{counted(report.rows, 'row')}</b>",
        counted(len(report.columns), "column"),
        size_of(report.size_bytes),
        escape(f"{report.encoding.upper()}, separated by {delimiter}"),
    )
    html = f'<p class="facts">{" · ".join(facts)}</p>\n'
    notes = [_duplicates_in_words(report.duplicates, report.rows)]
    if report.near_duplicates is not None and report.near_duplicates.rows:
        notes.append(_duplicates_in_words(report.near_duplicates, report.rows))
    if report.ragged_rows:
        notes.append(f"{counted(report.ragged_rows, 'row')} with more or fewer cells than the header")
    if report.repaired_lines:
        notes.append(f"{counted(report.repaired_lines, 'line')} not in UTF-8, read as Windows-1252")
    return html + "".join(f'<p class="note">{note}</p>\n' for note in notes if note)


def _duplicates_in_words(found: Duplicates, rows: int) -> str:
    if not found.rows:
        return ""
    repeat = "repeats" if found.rows == 1 else "repeat"
    but = f", apart from “{escape(found.key)}”, case and blanks" if found.key else ""
    about = "" if found.exact else "≈ "
    return f"{about}{counted(found.rows, 'row')} ({percentage(found.rows, rows)}) {repeat} an earlier one{but}"


def _table(report: Report) -> Iterator[str]:
    yield (
        '<div class="scroll"><table><thead><tr><th>Column</th><th>Type</th><th class="n">Missing</th>'
        '<th class="n">Distinct</th><th class="n">Minimum</th><th class="n">Median</th>'
        '<th class="n">Maximum</th><th>Mostly written as</th></tr></thead><tbody>\n'
    )
    for column in report.columns:
        median = column.quantiles.p50 if column.quantiles else None
        counts = (_missing(column, report.rows), _distinct(column))
        cells = "".join(
            f'<td class="n">{cell}</td>' for cell in (*counts, *map(shown, (column.min, median, column.max)))
        )
        written = _code(column.formats[0].format) if column.formats else ""
        yield (f"<tr><td>{escape(column.name)}</td><td>{escape(column.type)}</td>{cells}<td>{written}</td></tr>\n")
    yield "</tbody></table></div>\n"


def _card(column: ColumnReport, rows: int) -> str:
    html = "".join(f"<p>{line}</p>" for line in _lines(column, rows))
    html += "".join(f'<p class="note">{note}</p>' for note in _notes(column))
    if column.histogram is not None and len(column.histogram.counts) > 1:
        html += histogram_svg(column.histogram)
    elif column.top:
        html += bars_svg(column.top, rows)
    if column.formats:
        html += _formats(column.formats, rows - column.missing)
    kind = f'<span class="type">{escape(column.type)}</span>'
    head = f'<div class="head"><h2>{escape(column.name)}</h2>{kind}</div>'
    return f'<section class="card">{head}{html}</section>\n'


def _lines(column: ColumnReport, rows: int) -> Iterator[str]:
    yield f"{_distinct(column)} distinct · {_missing(column, rows)} missing"
    if column.mean is not None:
        deviation = "" if column.deviation is None else f" · deviation {shown(column.deviation)}"
        skewness = "" if column.skewness is None else f" · skewness {column.skewness:.2f}"
        yield f"mean {shown(column.mean)}{deviation}{skewness}"
    if column.quantiles is not None:
        about = "" if column.quantiles_exact else "≈ "
        low, middle, high = map(shown, (column.quantiles.p05, column.quantiles.p50, column.quantiles.p95))
        yield f"{about}5 % {low} · 50 % {middle} · 95 % {high}"
    signs = [counted(column.zeros, "zero")] if column.zeros else []
    signs += [f"{column.negative:,} below zero"] if column.negative else []
    if signs:
        yield " · ".join(signs)
    if column.form:
        yield f"written as {escape(column.form)}"
    if column.order:
        yield f"in {column.order} order"
    if column.type == "text":
        yield f"{column.shortest:,} to {column.longest:,} characters, {column.mean_length or 0:.1f} on average"
        if column.top_rest > 1 or not column.top_exact:
            yield f"no other value occurs more than {column.top_rest:,} times"


def _notes(column: ColumnReport) -> Iterator[str]:
    if column.misfits:
        examples = ", ".join(_code(_cut(example)) for example in column.misfit_examples)
        yield f"{counted(column.misfits, 'value')} not of this type: {examples}"
    if column.padded:
        yield f"{counted(column.padded, 'value')} with surrounding blanks"
    folded = column.distinct_folded
    if folded is not None and column.distinct_exact and folded < column.distinct:
        yield f"only {folded:,} distinct, ignoring case and surrounding blanks"


def _formats(formats: list[Format], values: int) -> str:
    rows = "".join(
        f'<tr><td title="{escape(format.format)}">{_code(_cut(format.format))}</td>'
        f'<td class="soft" title="{escape(format.example)}">{escape(_cut(format.example))}</td>'
        f'<td class="n">{format.count:,} <span class="soft">{percentage(format.count, values)}</span></td></tr>'
        for format in formats[:_FORMATS]
    )
    return (
        '<table class="few"><thead><tr><th>Written as</th><th>for example</th><th class="n">values</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _correlations(report: Report) -> str:
    shown_pairs = [
        pair for pair in report.correlations if max(abs(pair.pearson), abs(pair.spearman or 0)) >= _WORTH_SHOWING
    ]
    if not shown_pairs:
        return ""
    rows = "".join(
        f'<tr><td class="wrap">{escape(pair.columns[0])} <span class="soft">and</span> {escape(pair.columns[1])}'
        f'</td><td class="n">{_signed(pair.pearson)}</td><td class="n">{_signed(pair.spearman)}</td>'
        f'<td class="n">{pair.rows:,}</td></tr>'
        for pair in shown_pairs[:_CORRELATIONS]
    )
    return (
        '<h2 class="part">Correlated columns</h2><div class="scroll"><table><thead><tr><th>Columns</th>'
        '<th class="n">Pearson</th><th class="n">Spearman</th><th class="n">Rows</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>\n"
    )


def _repeated(found: Duplicates, title: str) -> str:
    if not found.examples:
        return ""
    rows = "".join(
        f'<tr><td class="n">{row.count:,}</td><td class="lines">{", ".join(map(str, row.lines))}'
        f"{', …' if len(row.lines) < row.count else ''}</td>"
        f'<td class="wrap">{" ".join(_code(_cut(cell, _CELL_CHARS)) for cell in row.cells)}</td></tr>'
        for row in found.examples
    )
    return (
        f'<h2 class="part">{escape(title)}</h2><div class="scroll"><table><thead><tr><th class="n">Times</th>'
        f"<th>Lines</th><th>Cells</th></tr></thead><tbody>{rows}</tbody></table></div>\n"
    )


def _method(report: Report) -> str:
    return (
        "<footer><p>Missing: an empty cell, NA, N/A, NULL, None, NaN. Distinct: different as written. "
        "Written as: A and a are letters, 9 is a digit, + means more of the same. "
        "“≈” marks an estimate: distinct values and duplicate rows are estimated from a sample of hashes, with a "
        f"standard error of {report.distinct_relative_error:.2%}; quantiles from a KLL sketch, whose ranks "
        f"are within {report.quantile_rank_error:.2%} (at 99 % confidence). Spearman coefficients use these ranks. "
        "All other counts are exact; beyond a few thousand, rows and values are told apart by 64-bit hashes. "
        "The outer bars of a histogram include the outliers.</p></footer>\n"
    )


def _missing(column: ColumnReport, rows: int) -> str:
    return f"{column.missing:,} ({percentage(column.missing, rows)})" if column.missing else "0"


def _distinct(column: ColumnReport) -> str:
    return f"{'' if column.distinct_exact else '≈ '}{column.distinct:,}"


def _signed(coefficient: float | None) -> str:
    return "" if coefficient is None else f"{coefficient:+.2f}"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _cut(text: str, chars: int = _EXAMPLE_CHARS) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"
