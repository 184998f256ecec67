"""`sales-report`: the sales of a period, month by month, as JSON, CSV and a page; served at `/api/reports`."""

import csv
import datetime as dt
from collections import defaultdict
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from headway import BlockingContext, JobFailed, job

from .sales_ledger import MONTHS, YEARS, open_ledger
from .sales_page import write_page

FIRST: Final = dt.date(YEARS[0], 1, 1)
LAST: Final = dt.date(YEARS[-1], 12, 31)

Cells = dict[tuple[str, str, str], list[int]]
"""Orders, units and cents by month, region and product."""


class Parameters(BaseModel):
    """The year of a yearly report."""

    year: str = Field(pattern=r"^[12][0-9]{3}$", title="Year", description=f"{YEARS[0]} to {YEARS[-1]}")


class SalesReport(BaseModel):
    """A period, by its first and last day or as a year. An open end extends to the end of the ledger."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        json_schema_extra={
            "examples": [
                {"type": "SalesReport", "from": "2026-01-01", "to": "2026-03-31"},
                {"reportType": "yearly-sales", "parameters": {"year": "2025"}},
            ]
        },
    )

    type: Literal["SalesReport"] = "SalesReport"
    from_: dt.date | None = Field(default=None, alias="from", title="First day")
    to: dt.date | None = Field(default=None, title="Last day")
    report_type: Literal["sales", "yearly-sales"] = Field(default="sales", title="Kind of report")
    parameters: Parameters | None = Field(default=None, title="Yearly report")


class Sales(BaseModel):
    """The sales of a month, a region or a product."""

    name: str
    orders: int
    units: int
    revenue: float = Field(description="In euros")


class Summary(BaseModel):
    """The sales of the period."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    title: str
    from_: dt.date = Field(serialization_alias="from")
    to: dt.date
    orders: int
    units: int
    revenue: float = Field(description="In euros")
    months: list[Sales]
    regions: list[Sales] = Field(description="Best first")
    products: list[Sales] = Field(description="Best first")


@job("sales-report", title="Sales report", path="/api/reports")
def sales_report(ctx: BlockingContext, input: SalesReport) -> Summary:
    """Sums up orders by month, region and product. The first report creates the ledger of made-up orders."""
    first, last = period(input)
    cells = _aggregate(ctx, open_ledger(ctx), first, last)
    summary = _summary(input, first, last, cells)
    ctx.progress(step="writing the report", message=f"{summary.orders:,} orders, €{summary.revenue:,.2f}")
    _write_csv(cells, ctx.output_dir / "sales.csv")
    write_page(summary.model_dump(), ctx.output_dir / "sales.html")
    ctx.result_url = f"/api/reports/{ctx.job_id}"
    return summary


def period(input: SalesReport) -> tuple[dt.date, dt.date]:
    """Return the first and last day that satisfy every part of the input. Raises `JobFailed` if there are none."""
    first, last = max(FIRST, input.from_ or FIRST), min(LAST, input.to or LAST)
    if input.parameters is not None:
        year = int(input.parameters.year)
        first, last = max(first, dt.date(year, 1, 1)), min(last, dt.date(year, 12, 31))
    if first > last:
        detail = f"The ledger covers {FIRST} to {LAST}, and the first day must not be after the last."
        raise JobFailed("There are no orders in this period", detail=detail, type="empty-period")
    return first, last


def _aggregate(ctx: BlockingContext, ledger: Path, first: dt.date, last: dt.date) -> Cells:
    """Read the months of the period."""
    cells: Cells = defaultdict(lambda: [0, 0, 0])
    first_day, last_day = first.isoformat(), last.isoformat()  # ISO dates sort as text
    months = [month for month in MONTHS if first_day[:7] <= month <= last_day[:7]]
    for month in ctx.track(months, unit="months", step="aggregating"):
        ctx.progress(message=f"aggregating {dt.date.fromisoformat(f'{month}-01'):%B %Y}")
        with (ledger / f"{month}.csv").open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            next(rows)
            for _, day, region, product, units, cents in rows:
                if first_day <= day <= last_day:
                    cell = cells[month, region, product]
                    cell[0] += 1
                    cell[1] += int(units)
                    cell[2] += int(cents)
    return cells


def _summary(input: SalesReport, first: dt.date, last: dt.date, cells: Cells) -> Summary:
    title = f"Sales from {first} to {last}"
    if input.report_type == "yearly-sales":
        years = f"{first.year}" if first.year == last.year else f"{first.year} to {last.year}"
        title = f"Yearly sales {years}"
    orders, units, cents = (sum(cell[part] for cell in cells.values()) for part in range(3))
    months, regions, products = (_by(cells, part) for part in range(3))
    return Summary(
        title=title,
        from_=first,
        to=last,
        orders=orders,
        units=units,
        revenue=cents / 100,
        months=sorted(months, key=lambda sales: sales.name),
        regions=sorted(regions, key=_best_first),
        products=sorted(products, key=_best_first),
    )


def _by(cells: Cells, part: int) -> list[Sales]:
    """Sum by one part of the key: 0 is the month, 1 the region, 2 the product."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for key, cell in cells.items():
        sums[key[part]] = [left + right for left, right in zip(sums[key[part]], cell, strict=True)]
    return [Sales(name=name, orders=sold[0], units=sold[1], revenue=sold[2] / 100) for name, sold in sums.items()]


def _best_first(sales: Sales) -> tuple[float, str]:
    return -sales.revenue, sales.name


def _write_csv(cells: Cells, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("month", "region", "product", "orders", "units", "revenue"))
        for key, (orders, units, cents) in sorted(cells.items()):
            writer.writerow((*key, orders, units, f"{cents / 100:.2f}"))
