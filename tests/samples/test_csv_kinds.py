"""The kinds of columns."""

import pytest
from headway.samples.tables.kinds import Number, choose_kind


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", "+3", "0"], "integer"),
        (["0", "1"], "integer"),
        (["1", "2.5"], "number"),
        (["1e3", "-.5"], "number"),
        (["0.5", "10"], "number"),
        (["1,234.50", "12"], "number"),
        (["007", "123"], "text"),
        (["1_000"], "text"),
        (["nan1"], "text"),
        (["inf"], "text"),
        (["1e999"], "text"),
        (["١٢"], "text"),
        (["true", "FALSE"], "boolean"),
        (["yes"], "boolean"),
        (["yes", "false"], "text"),
        (["2026-02-28"], "date"),
        (["2026-02-30"], "text"),
        (["2026-02-28", "2026-02-28T12:00"], "datetime"),
        (["2026-02-28 12:00:00.123+01:00", "2026-02-28T12:00:00Z"], "datetime"),
        (["2026-02-28T12:00Z", "2026-02-28T12:00"], "text"),
        (["0001-01-01T00:00:00+23:59"], "text"),
        (["9999-12-31T23:59:59-23:59"], "text"),
        (["20260228"], "integer"),
        (["31.12.2025", "1.1.2026"], "date"),
        (["words", "more"], "text"),
    ],
)
def test_a_column_has_the_first_kind_that_reads_all_its_values(values: list[str], kind: str) -> None:
    assert choose_kind(values, ",").type == kind


@pytest.mark.parametrize(
    ("values", "form", "shown"),
    [
        (["31/12/2025", "01/02/2026"], "DD/MM/YYYY", "2025-12-31"),
        (["12/31/2025", "01/02/2026"], "MM/DD/YYYY", "2025-12-31"),
        (["2025/12/31"], "YYYY/MM/DD", "2025-12-31"),
        (["31-12-2025"], "DD-MM-YYYY", "2025-12-31"),
    ],
)
def test_day_and_month_are_in_the_order_that_fits_the_whole_column(values: list[str], form: str, shown: str) -> None:
    kind = choose_kind(values, ",")
    assert kind.form == form
    assert kind.show(kind.read(values)[0]) == shown


def test_a_comma_is_a_decimal_point_unless_it_is_the_delimiter() -> None:
    kind = choose_kind(["1.234,5", "0,25"], ";")
    assert kind.read(["1.234,5", "0,25"]) == [1234.5, 0.25]


def test_a_few_typing_errors_leave_a_column_numeric() -> None:
    values = [str(number) for number in range(500)]
    assert choose_kind([*values, "abc"], ",").type == "integer"
    assert choose_kind([*values, *(f"x{number}" for number in range(20))], ",").type == "text"


def test_a_misfit_may_be_the_first_value() -> None:
    assert choose_kind(["n.a.", *map(str, range(500))], ",").type == "integer"


@pytest.mark.parametrize(
    "written", ["2026-03-31T23:59:59Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00", "9999-12-31T23:59:59"]
)
def test_an_instant_is_shown_as_it_was_written(written: str) -> None:
    kind = choose_kind([written], ",")
    assert kind.show(kind.read([written])[0]) == written


def test_an_integer_too_large_for_a_float_is_not_shown_as_exact() -> None:
    kind = Number()
    (value,) = kind.read(["12345678901234567890"])
    assert isinstance(kind.show(value), float)
