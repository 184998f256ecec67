"""The CSV report as a whole: its findings and its page."""

import csv
import html.parser
import io
import json
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from headway import BlockingContext, JobCancelled, JobFailed, Upload
from headway.authoring.declaring import declared
from headway.samples.csv_report import CsvReport, csv_report
from headway.samples.tables import profile as csv_profile
from headway.samples.tables.column import Budget, Column
from headway.samples.tables.findings import ColumnReport, Report
from headway.samples.tables.profile import Profile, column_names
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MakeUpload = Callable[[bytes | str], Upload]


def report_on(context: BlockingContext, upload: Upload) -> Report:
    return csv_report(context, CsvReport(file=upload))


def column_of(*values: str, batch: int = 5_000) -> ColumnReport:
    """Profile one column."""
    (column,) = profile_of(["it"], [[value] for value in values], batch=batch).columns()
    return column


def profile_of(header: list[str], rows: list[list[str]], *, batch: int = 5_000) -> Profile:
    """Make both passes over a table."""
    profile = Profile(header, ",")
    for pass_ in (profile.add, profile.count):
        for start in range(0, len(rows), batch):
            records = rows[start : start + batch]
            pass_(records, range(start + 2, start + 2 + len(records)))
        if pass_ == profile.add:
            profile.turn()
    return profile


def test_a_report_counts_and_types_every_column(context: BlockingContext, upload: MakeUpload) -> None:
    report = report_on(
        context,
        upload('id,price,on,paid,note\n1,2.5,2026-01-01,yes,"a\nb"\n2,,2026-01-03,no,c\n3,4.5,NA,no,c\n'),
    )
    assert report.rows == 3
    assert [column.type for column in report.columns] == ["integer", "number", "date", "boolean", "text"]
    assert [column.missing for column in report.columns] == [0, 1, 1, 0, 0]
    assert [column.distinct for column in report.columns] == [3, 2, 2, 2, 2]
    price, on = report.columns[1:3]
    assert (price.min, price.max, price.mean) == (2.5, 4.5, 3.5)
    assert price.deviation == pytest.approx(2**0.5)
    assert (on.min, on.max, on.mean) == ("2026-01-01", "2026-01-03", "2026-01-02")
    assert [(top.value, top.count) for top in report.columns[4].top] == [("c", 2), ("a\nb", 1)]


def test_the_result_is_camel_case_json(context: BlockingContext, upload: MakeUpload) -> None:
    report = report_on(context, upload("a;b\n1;2\n3\n"))
    result = json.loads(declared("csv-report").encode_output(report))
    assert (result["rows"], result["raggedRows"], result["delimiter"], result["encoding"]) == (
        2,
        1,
        ";",
        "utf-8",
    )
    assert result["columns"][0]["distinctExact"] is True
    assert result["columns"][1]["missing"] == 1


@pytest.mark.parametrize(("content", "columns"), [("", 0), ("a,b\n", 2), ("\n\n", 0)])
def test_a_file_without_rows_is_reported_too(
    content: str, columns: int, context: BlockingContext, upload: MakeUpload
) -> None:
    report = report_on(context, upload(content))
    assert (report.rows, len(report.columns)) == (0, columns)
    assert {column.type for column in report.columns} <= {"empty"}
    assert "0 rows" in (context.output_dir / "report.html").read_text(encoding="utf-8")


def test_blank_and_repeated_column_names_are_made_unique() -> None:
    assert column_names(["a", "", "a", " ", "a (2)"]) == ["a", "column 2", "a (2)", "column 4", "a (2) (2)"]


def test_ragged_rows_are_counted_and_their_cells_used(context: BlockingContext, upload: MakeUpload) -> None:
    report = report_on(context, upload("a,b\n1,2\n3\n4,5,6\n\n"))
    assert (report.rows, report.ragged_rows) == (3, 2)
    assert [(column.missing, column.max) for column in report.columns] == [(0, 4), (1, 5)]


def test_a_column_with_too_many_distinct_values_is_marked_as_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "for_columns", lambda _columns: Budget(100, 16, 2048, 10, 1024, 16))
    chance = Random(3)
    values = [chance.gauss(100, 15) for _ in range(50_000)]
    column = column_of(*(f"{value:.6f}" for value in values))
    ordered = sorted(values)
    assert not column.distinct_exact
    assert not column.quantiles_exact
    assert column.distinct == pytest.approx(50_000, rel=0.2)
    assert column.mean == pytest.approx(sum(values) / len(values))
    assert column.min == pytest.approx(ordered[0], abs=1e-6)
    assert column.quantiles is not None
    assert column.quantiles.p50 == pytest.approx(ordered[25_000], abs=0.2)
    assert column.histogram is not None
    assert sum(column.histogram.counts) == 50_000


def test_misfits_are_counted_before_and_after_the_change_to_sketches() -> None:
    values: list[str] = []
    for start in range(0, 60_000, 5_000):
        values += [*map(str, range(start, start + 5_000)), *["?"] * 3]
    column = column_of(*values)
    assert (column.type, column.misfits, column.max) == ("integer", 36, 59_999)
    assert column.misfit_examples == ["?"]


def test_a_column_of_numbers_that_turns_into_words_is_text() -> None:
    column = column_of(*map(str, range(20_000)), *(f"word {number}" for number in range(20_000)))
    assert (column.type, column.min, column.quantiles, column.histogram) == ("text", None, None, None)
    assert column.distinct == 40_000


def test_a_column_with_many_distinct_values_is_exact_after_the_second_pass() -> None:
    chance = Random(3)
    values = [chance.lognormvariate(3, 1) for _ in range(50_000)]
    column = column_of(*(f"{value:.9f}" for value in values))
    ordered = sorted(float(f"{value:.9f}") for value in values)
    assert (column.distinct, column.distinct_exact) == (50_000, True)
    assert column.quantiles is not None
    assert column.histogram is not None
    assert column.quantiles_exact
    assert column.quantiles.p05 == ordered[2_499]
    assert column.quantiles.p95 == ordered[47_499]
    edges = [float(edge) for edge in column.histogram.edges]
    assert column.histogram.counts[3] == sum(edges[3] <= value < edges[4] for value in ordered)


@pytest.mark.parametrize("countable", [100_000, 0], ids=["all", "candidates"])
def test_the_most_frequent_of_many_values_have_exact_counts(countable: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_profile, "_COUNTABLE", countable)
    often = {f"often {number}": 1_000 + number for number in range(12)}
    values = [f"once {number}" for number in range(30_000)]
    values += [value for value, count in often.items() for _ in range(count)]
    Random(1).shuffle(values)
    column = column_of(*values)
    assert [(top.value, top.count) for top in column.top] == [*reversed(often.items())][:10]
    assert (column.top_exact, column.top_rest) == (True, 1_001)


def test_values_that_may_not_be_the_most_frequent_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_profile, "_COUNTABLE", 0)
    values = [f"value {number % 20_000}" for number in range(60_000)]
    column = column_of(*values, batch=100)
    assert (column.top, column.top_exact) == ([], False)
    assert column.top_rest >= 3
    monkeypatch.setattr(csv_profile, "_COUNTABLE", 20_000)
    column = column_of(*values, "value 7")
    assert (column.top[0].value, column.top[0].count, column.top_rest, column.top_exact) == ("value 7", 4, 3, True)


def test_no_value_of_a_column_of_distinct_values_is_reported_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_profile, "_COUNTABLE", 0)
    assert column_of(*(f"value {number}" for number in range(40_000)), batch=1_000).top_rest == 1


def test_a_frequent_misfit_that_comes_first_does_not_make_numbers_text() -> None:
    values = ["?" if number % 150 == 0 else str(number) for number in range(30_000)]
    column = column_of(*values)
    assert (column.type, column.misfits) == ("integer", 200)
    assert column_of(*["?"] * 1_500, *values).type == "text"


@pytest.mark.parametrize("count", [50, 20_000])
def test_values_that_differ_only_in_case_or_blanks_are_reported(count: int) -> None:
    column = column_of(*(f"Value {number}" for number in range(count)), *(f"value {n} " for n in range(0, count, 2)))
    assert (column.distinct, column.distinct_folded, column.padded) == (count * 3 // 2, count, count // 2)
    assert (column.shortest, column.longest) == (7, len(f"value {count - 2} "))


@pytest.mark.parametrize("count", [50, 20_000])
def test_every_column_reports_its_formats(count: int) -> None:
    column = column_of(*(f"AB-{number:05}" for number in range(count)), "n.a.")
    assert [(format.format, format.count) for format in column.formats] == [("AA-9+", count), ("a.a.", 1)]
    assert column.formats[0].example.startswith("AB-0")
    assert column.formats_exact


def test_long_values_are_distinguished_by_their_hashes() -> None:
    column = column_of("x" * 5_000 + "a", "x" * 5_000 + "b", "x" * 5_000 + "b")
    assert (column.distinct, column.longest) == (2, 5_001)
    assert max(len(top.value) for top in column.top) < 200


@pytest.mark.parametrize(("values", "type_"), [(["", "NA"], "empty"), (["0", "1"], "integer"), (["é"], "text")])
def test_small_columns(values: list[str], type_: str) -> None:
    assert column_of(*values).type == type_


def test_infinite_and_huge_numbers_do_not_break_the_report() -> None:
    column = column_of("1e308", "-1e308", "1e308", "inf", "5")
    assert column.type == "text"
    assert column_of("1e308", "-1e308", "1e308").type == "number"


def test_progress_is_in_bytes_and_ends_at_the_files_size(
    context: BlockingContext, upload: MakeUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    add = Profile.add

    def noting(profile: Profile, records: list[list[str]], numbers: list[int]) -> None:
        add(profile, records, numbers)
        seen.append(context._reported.done)

    monkeypatch.setattr(Profile, "add", noting)
    file = upload("number,text\n" + "".join(f"{number},some text\n" for number in range(100_000)))
    report_on(context, file)
    assert context._reported.done == context._reported.total == file.size_bytes
    assert context._reported.unit == "bytes"
    assert context._reported.message == "100,000 rows"
    assert len(set(seen)) >= 6


def test_percent_rises_evenly_over_both_passes(
    context: BlockingContext, upload: MakeUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, str]] = []
    progress = context.progress

    def noting(*args: float, **reported: float | str) -> None:
        progress(*args, **reported)  # type: ignore[arg-type]
        seen.append((context._reported.percent or 0, context._reported.step))

    monkeypatch.setattr(context, "progress", noting)
    report_on(context, upload("number,text\n" + "".join(f"{number},some text\n" for number in range(100_000))))
    percents = [percent for percent, _ in seen]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert max(right - left for left, right in pairwise(percents)) < 5
    assert {step for percent, step in seen if 0 < percent < 50} == {"reading, 1 of 2"}
    assert {step for percent, step in seen if 50 < percent < 100} == {"counting, 2 of 2"}


def test_a_cancelled_report_stops_at_the_next_batch(context: BlockingContext, upload: MakeUpload) -> None:
    context._cancelled = True
    with pytest.raises(JobCancelled):
        report_on(context, upload("a\n1\n"))


def test_too_many_columns_are_rejected(context: BlockingContext, upload: MakeUpload) -> None:
    with pytest.raises(JobFailed, match="Too many columns"):
        report_on(context, upload(",".join("c" * 20_000) + "\n"))


def test_a_thousand_columns_are_accepted(context: BlockingContext, upload: MakeUpload) -> None:
    rows = "\n".join(",".join(str(row * column) for column in range(1000)) for row in range(100))
    report = report_on(context, upload(rows))
    assert (report.rows, len(report.columns)) == (99, 1000)


class Tags(html.parser.HTMLParser):
    """Collects the elements and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_self_contained_and_escapes_the_files_contents(
    context: BlockingContext, upload: MakeUpload
) -> None:
    evil = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>"
    file = upload(f'"{evil}",n,"{evil}"\n"{evil}",1,"\'"\n"{evil}",2,"&amp;"\n')
    csv_report(context, CsvReport(file=Upload(file.path, evil, "text/csv", file.size_bytes)))
    page = Tags()
    page.feed((context.output_dir / "report.html").read_text(encoding="utf-8"))
    assert not page.tags & {"script", "img", "link", "iframe", "object", "form", "a"}
    assert not {name for name in page.attributes if name.startswith("on")}
    assert not page.attributes & {"src", "href", "style"}
    assert "alert(1)" in page.text


def test_the_page_shows_the_number_of_rows(context: BlockingContext, upload: MakeUpload) -> None:
    report_on(context, upload("n\n" + "".join(f"{number}\n" for number in range(12_345))))
    page = (context.output_dir / "report.html").read_text(encoding="utf-8")
    assert "<b>12,345 rows</b>" in page
    assert "<svg" in page


def test_a_column_accepts_any_cells() -> None:
    column = Column("it", Profile(["it"], ",").budget, ",")
    column.add(["\0", "\ud800".encode("utf-8", "replace").decode(), "x" * 1000])
    column.turn(100)
    assert column.report().distinct == 3


odd_numbers = ["", "NA", "1", "-0", "007", "2.5", "1e308", "-1e308", "1e999", "inf", "1_0", "1.234,5", "true"]
odd_days = ["2026-01-01", "2026-01-01T00:00", "01/02/2020", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"]
odd_texts = ["é", "😀", "\x85", "\u2028", '"', "a\nb", "a\rb", "x" * 300]
odd_cells = st.sampled_from([*odd_numbers, *odd_days, *odd_texts])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    table=st.lists(st.lists(odd_cells, max_size=4), max_size=12),
    exact_values=st.sampled_from([2, 1000]),
)
def test_the_report_of_any_cells_is_valid_json(
    table: list[list[str]], exact_values: int, context: BlockingContext, upload: MakeUpload
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["a", "b", "c"], *table])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Budget, "for_columns", lambda _columns: Budget(exact_values, 2, 64, 64, 64, 2))
        report = report_on(context, upload(text.getvalue()))
    encoded = json.loads(declared("csv-report").encode_output(report), parse_constant=pytest.fail)
    assert encoded["rows"] == sum(1 for row in table if row)


def test_the_page_shows_formats_duplicates_and_correlations(context: BlockingContext, upload: MakeUpload) -> None:
    rows = [f"{number},Porto {number % 7},{number * 2},{number * 4}" for number in range(100)]
    report_on(context, upload("\n".join(["id,city,x,y", *rows, rows[3], rows[4].replace("4,", "999,", 1)])))
    page = Tags()
    page.feed((context.output_dir / "report.html").read_text(encoding="utf-8"))
    assert "1 row (1.0 %) repeats an earlier one" in page.text
    assert "repeats an earlier one, apart from “id”" in page.text
    assert "Aa+ 9" in page.text
    assert "5, 102" in page.text
    assert "Pearson" in page.text
