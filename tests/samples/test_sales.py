"""The sales report: its ledger is created once and completely, and its sums agree with the orders."""

import csv
import hashlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from headway import BlockingContext, JobCancelled, JobFailed
from headway.authoring.declaring import declared
from headway.authoring.reporting import LogBuffer, Reported
from headway.ports.files import Directories
from headway.samples import sales_ledger
from headway.samples.sales_ledger import MONTHS, open_ledger
from headway.samples.sales_report import SalesReport, period, sales_report
from pydantic import ValidationError

LEDGER_SHA256 = "ecb275014dac10934b63b4e3d4ad09d051267585419f988cb7d71f0ed6ebe27f"
QUARTER = '{"type": "SalesReport", "from": "2026-01-01", "to": "2026-03-31"}'
SMALL = 720
YEAR = '{"reportType": "yearly-sales", "parameters": {"year": "2025"}}'


def parsed(text: str) -> SalesReport:
    """Parse a request's body as the server does."""
    return SalesReport.model_validate_json(text, strict=True, extra="forbid")


def context_over(data: Path, job: Path) -> BlockingContext:
    return BlockingContext(
        job_id="01890000-0000-7000-8000-000000000000",
        attempt=1,
        owner="local",
        directories=Directories(str(job / "work"), str(job / "output"), str(data)),
        reported=Reported(),
        logs=LogBuffer(),
        checkpoint_json=None,
        sync_checkpoint=lambda _json: None,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A type's data directory with a complete ledger."""
    folder = tmp_path_factory.mktemp("data")
    open_ledger(context_over(folder, folder / "job"))
    return folder


@pytest.fixture(scope="module")
def some_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A type's data directory with a ledger of a fifteenth of the size, for the report's sums."""
    folder = tmp_path_factory.mktemp("some-data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sales_ledger, "ORDERS", 36_000)
        open_ledger(context_over(folder, folder / "job"))
    return folder


@pytest.fixture
def ctx(some_data: Path, tmp_path: Path) -> BlockingContext:
    return context_over(some_data, tmp_path)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that is created quickly."""
    monkeypatch.setattr(sales_ledger, "ORDERS", SMALL)


def orders(ledger: Path) -> Iterator[list[str]]:
    for month in MONTHS:
        with (ledger / f"{month}.csv").open(newline="") as file:
            yield from list(csv.reader(file))[1:]


# The ledger


def test_the_ledger_is_the_same_on_every_machine(data: Path) -> None:
    content = b"".join((data / "ledger-2" / f"{month}.csv").read_bytes() for month in MONTHS)
    assert hashlib.sha256(content).hexdigest() == LEDGER_SHA256


def test_the_ledger_has_half_a_million_orders_sorted_by_day(data: Path) -> None:
    found = list(orders(data / "ledger-2"))
    assert [int(order[0]) for order in found] == list(range(1, 500_001))
    days = [order[1] for order in found]
    assert days == sorted(days)
    assert (days[0], days[-1]) == ("2020-01-01", "2026-12-31")
    assert all(int(order[4]) >= 1 and int(order[5]) > 0 for order in found)


@pytest.mark.usefixtures("small")
def test_an_existing_ledger_is_not_changed(tmp_path: Path) -> None:
    ledger = open_ledger(context_over(tmp_path, tmp_path / "first"))
    (ledger / "2020-01.csv").write_text("mine")
    assert open_ledger(context_over(tmp_path, tmp_path / "second")) == ledger
    assert (ledger / "2020-01.csv").read_text() == "mine"


@pytest.mark.usefixtures("small")
def test_a_killed_creation_leaves_no_ledger_and_the_next_one_is_complete(tmp_path: Path) -> None:
    killed = multiprocessing.get_context("spawn").Process(target=_create_until_killed, args=(tmp_path,))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert not (tmp_path / "ledger-2").exists()
    assert (tmp_path / "unfinished" / "2020-01.csv").exists()
    ledger = open_ledger(context_over(tmp_path, tmp_path / "second"))
    assert len(list(orders(ledger))) == SMALL
    assert not (tmp_path / "unfinished").exists()


def _create_until_killed(data: Path) -> None:
    """`kill -9` in the fifth month."""
    orders_of = sales_ledger._orders

    def dies(chance: Random, month: str, numbers: range) -> Iterator[str]:
        if month == MONTHS[4]:
            os.kill(os.getpid(), signal.SIGKILL)
        return orders_of(chance, month, numbers)

    sales_ledger.ORDERS = SMALL  # type: ignore[misc]  # in a process of its own
    sales_ledger._orders = dies
    open_ledger(context_over(data, data / "first"))


@pytest.mark.usefixtures("small")
def test_a_cancelled_creation_stops(tmp_path: Path) -> None:
    ctx = context_over(tmp_path, tmp_path / "job")
    ctx._cancelled = True
    with pytest.raises(JobCancelled):
        open_ledger(ctx)
    assert not (tmp_path / "ledger-2").exists()


# The report


@pytest.mark.parametrize(
    ("input", "title", "first", "last"),
    [
        (QUARTER, "Sales from 2026-01-01 to 2026-03-31", "2026-01-01", "2026-03-31"),
        (YEAR, "Yearly sales 2025", "2025-01-01", "2025-12-31"),
        (
            '{"from": "2024-02-29", "to": "2024-02-29"}',
            "Sales from 2024-02-29 to 2024-02-29",
            "2024-02-29",
            "2024-02-29",
        ),
    ],
)
def test_the_sums_agree_with_the_orders(ctx: BlockingContext, input: str, title: str, first: str, last: str) -> None:
    summary = sales_report(ctx, parsed(input))
    sold = [order for order in orders(ctx.data_dir / "ledger-2") if first <= order[1] <= last]
    assert (summary.title, str(summary.from_), str(summary.to)) == (title, first, last)
    assert (summary.orders, summary.units) == (len(sold), sum(int(order[4]) for order in sold))
    assert summary.revenue == sum(int(order[5]) for order in sold) / 100
    assert [month.name for month in summary.months] == sorted({order[1][:7] for order in sold})
    for parts in (summary.months, summary.regions, summary.products):
        assert sum(part.orders for part in parts) == len(sold)
    for region in summary.regions:
        assert region.units == sum(int(order[4]) for order in sold if order[2] == region.name)
    for product in summary.products:
        assert product.revenue == sum(int(order[5]) for order in sold if order[3] == product.name) / 100
    assert [product.revenue for product in summary.products] == sorted(
        (product.revenue for product in summary.products), reverse=True
    )


def test_progress_is_in_months(ctx: BlockingContext) -> None:
    sales_report(ctx, parsed(YEAR))
    reported = ctx._reported
    assert (reported.done, reported.total, reported.unit) == (12, 12, "months")


def test_the_files_agree_with_the_result(ctx: BlockingContext) -> None:
    summary = sales_report(ctx, parsed(QUARTER))
    assert sorted(path.name for path in ctx.output_dir.iterdir()) == ["sales.csv", "sales.html"]
    with (ctx.output_dir / "sales.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["orders"]) for row in rows) == summary.orders
    assert sum(Decimal(row["revenue"]) for row in rows) == Decimal(f"{summary.revenue:.2f}")
    page = (ctx.output_dir / "sales.html").read_text("utf-8")
    assert f"€{summary.revenue:,.2f}" in page
    assert all(product.name in page for product in summary.products)
    assert "<script" not in page
    assert "http" not in page
    assert '"from":"2026-01-01"' in declared("sales-report").encode_output(summary)


@pytest.mark.parametrize(
    ("input", "days"),
    [
        ("{}", ("2020-01-01", "2026-12-31")),
        ('{"to": "2024-05-05"}', ("2020-01-01", "2024-05-05")),
        ('{"from": "1999-01-01", "to": "2999-12-31"}', ("2020-01-01", "2026-12-31")),
        ('{"reportType": "yearly-sales"}', ("2020-01-01", "2026-12-31")),
        ('{"from": "2025-07-01", "parameters": {"year": "2025"}}', ("2025-07-01", "2025-12-31")),
    ],
)
def test_an_open_end_of_the_period_extends_to_the_end_of_the_ledger(input: str, days: tuple[str, str]) -> None:
    assert tuple(str(day) for day in period(parsed(input))) == days


@pytest.mark.parametrize(
    "input",
    ['{"from": "2027-01-01"}', '{"from": "2025-02-02", "to": "2025-02-01"}', '{"parameters": {"year": "1999"}}'],
)
def test_a_period_without_orders_fails(ctx: BlockingContext, input: str) -> None:
    with pytest.raises(JobFailed, match="no orders in this period") as raised:
        sales_report(ctx, parsed(input))
    assert (raised.value.type, raised.value.status) == ("empty-period", 422)


@pytest.mark.parametrize(
    "input",
    [
        '{"type": "Sales"}', '{"from": "soon"}', '{"from": 5}', '{"reportType": "daily"}', '{"parameters": {}}',
        '{"parameters": {"year": 2025}}', '{"parameters": {"year": "0000"}}', '{"year": "2025"}',
    ],
)  # fmt: skip
def test_invalid_input_is_rejected(input: str) -> None:
    with pytest.raises(ValidationError):
        parsed(input)
