"""The sales report as one self-contained HTML file without scripts, for light and dark screens."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

_STYLE: Final = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #fff; --ink: #1b2430; --soft: #5c6b7e; --line: #dfe4ea;
  --bar: #3b6fd4; }
@media (prefers-color-scheme: dark) { :root { --paper: #12161c; --card: #1a2029; --ink: #e6ebf2; --soft: #98a6b8;
  --line: #2c3542; --bar: #6f9df5; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { margin: 0; font-size: 26px; } h2 { margin: 32px 0 8px; font-size: 17px; }
p { color: var(--soft); margin: 4px 0 24px; } p b { color: var(--ink); font-size: 18px; }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
th, td { padding: 6px 14px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; font-size: 13px; }
th:first-child, td:first-child { text-align: left; } td:last-child { width: 40%; }
svg { display: block; width: 100%; height: 12px; } rect { fill: var(--bar); }
"""


def write_page(summary: Mapping[str, Any], path: Path) -> None:
    """Write the page; `summary` has the fields of `sales_report.Summary`."""
    title = escape(summary["title"])
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>\n<h1>{title}</h1>\n"
        f"<p><b>€{summary['revenue']:,.2f}</b> from {summary['orders']:,} orders of {summary['units']:,} units</p>\n"
        f"{_table('By month', 'Month', summary['months'])}"
        f"{_table('By region', 'Region', summary['regions'])}"
        f"{_table('By product', 'Product', summary['products'])}"
        "</main></body></html>\n"
    )
    path.write_text(page, "utf-8")


def _table(heading: str, first_column: str, rows: Sequence[Mapping[str, Any]]) -> str:
    most = max((row["revenue"] for row in rows), default=0) or 1
    lines = "".join(_line(row, row["revenue"] / most) for row in rows)
    head = f"<tr><th>{first_column}</th><th>Orders</th><th>Units</th><th>Revenue</th><th></th></tr>"
    return f"<h2>{heading}</h2>\n<table>{head}\n{lines}</table>\n"


def _line(row: Mapping[str, Any], share: float) -> str:
    bar = f'<svg viewBox="0 0 100 12" preserveAspectRatio="none"><rect width="{100 * share:.1f}" height="12"/></svg>'
    cells = (escape(row["name"]), f"{row['orders']:,}", f"{row['units']:,}", f"€{row['revenue']:,.2f}", bar)
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"
