"""Reading CSV files: encodings, delimiters, records and their byte offsets."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from headway import JobFailed, Upload
from headway.samples.tables import text as csv_text
from headway.samples.tables.text import Lines, batches, open_csv, read_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MakeUpload = Callable[[bytes | str], Upload]


def records_of(path: Path, work_dir: Path, *, max_rows: int = 3) -> list[list[str]]:
    source = open_csv(path, work_dir)
    with source.path.open("rb") as file:
        lines = Lines(file, source)
        return [row for rows, _ in batches(lines, source.delimiter, max_rows=max_rows) for row in rows]


TEXT = "name;city\nÅsa;Zürich\n"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (TEXT.encode("utf-8-sig"), "utf-8"),
        (TEXT.encode("utf-16"), "utf-16-le"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-16-be"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("utf-16-be"), "utf-16-be"),
        (TEXT.encode("cp1252"), "cp1252"),
    ],
)
def test_the_encoding_is_detected(content: bytes, encoding: str, upload: MakeUpload, tmp_path: Path) -> None:
    path = upload(content).path
    assert open_csv(path, tmp_path).encoding == encoding
    assert records_of(path, tmp_path) == [["name", "city"], ["Åsa", "Zürich"]]


def test_a_line_that_is_not_utf_8_is_read_as_windows_1252_and_counted(upload: MakeUpload, tmp_path: Path) -> None:
    path = upload(b"name\n" + b"plain\n" * 20_000 + "Zürich\n".encode() + "Zürich\n".encode("cp1252")).path
    source = open_csv(path, tmp_path)
    with path.open("rb") as file:
        lines = Lines(file, source)
        assert list(lines)[-2:] == ["Zürich\n", "Zürich\n"]
    assert lines.repaired == 1


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_detected(delimiter: str, upload: MakeUpload, tmp_path: Path) -> None:
    rows = [["id", "price", "note"], ["1", "2.50", "a, b; c"], ["2", "3.00", "d"]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    path = upload(text.getvalue()).path
    assert open_csv(path, tmp_path).delimiter == delimiter
    assert records_of(path, tmp_path) == rows


def test_decimal_commas_do_not_make_a_comma_the_delimiter(upload: MakeUpload, tmp_path: Path) -> None:
    path = upload("id;price\n1;2,50\n2;3,75\n").path
    assert open_csv(path, tmp_path).delimiter == ";"


def test_a_single_column_gets_a_delimiter_that_is_not_in_its_header(upload: MakeUpload, tmp_path: Path) -> None:
    path = upload("note\none; two\nthree; four\n").path
    assert records_of(path, tmp_path) == [["note"], ["one; two"], ["three; four"]]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_excels_own_first_line_names_the_delimiter(mark: bytes, upload: MakeUpload, tmp_path: Path) -> None:
    path = upload(mark + b"sep=|\r\na|b\r\n1|2\r\n").path
    assert records_of(path, tmp_path) == [["a", "b"], ["1", "2"]]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"PK\x03\x04" + bytes(50), "Excel workbook"),
        (b"%PDF-1.7\n", "PDF"),
        (bytes(range(256)) * 4, "NUL"),
        (b"a\x01\x02\x03\x04" * 30, "control characters"),
    ],
)
def test_a_file_that_is_not_text_is_rejected_with_the_reason(
    content: bytes, why: str, upload: MakeUpload, tmp_path: Path
) -> None:
    with pytest.raises(JobFailed, match="Not a CSV file") as failure:
        open_csv(upload(content).path, tmp_path)
    assert why in str(failure.value.detail)


def test_an_endless_line_is_rejected_before_it_fills_the_memory(upload: MakeUpload, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="A record is too long"):
        records_of(upload(b"a,b\n" + b"x" * (csv_text.LINE_LIMIT_BYTES + 100_000)).path, tmp_path)


def test_a_quotation_mark_that_is_never_closed_is_detected(upload: MakeUpload, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="A record is too long") as failure:
        records_of(upload('a,b\n"' + "x,y\n" * 400_000).path, tmp_path)
    assert "quotation mark" in str(failure.value.detail)


def test_a_record_of_many_small_fields_over_many_lines_is_limited_too(upload: MakeUpload, tmp_path: Path) -> None:
    cell = '"' + "x\n" * 1000 + '",'
    with pytest.raises(JobFailed, match="A record is too long"):
        records_of(upload("a,b\n" + cell * 4000).path, tmp_path)


def test_an_empty_file_has_no_header_and_no_records(upload: MakeUpload, tmp_path: Path) -> None:
    source = open_csv(upload("").path, tmp_path)
    with source.path.open("rb") as file:
        lines = Lines(file, source)
        assert read_header(lines, source.delimiter) == []
        assert list(batches(lines, source.delimiter, max_rows=1)) == []


def test_each_record_has_the_number_of_the_line_it_begins_on(upload: MakeUpload, tmp_path: Path) -> None:
    source = open_csv(upload('a,b\n1,"x\ny"\n\n2,z\n').path, tmp_path)
    with source.path.open("rb") as file:
        read = batches(Lines(file, source), ",", max_rows=2)
        assert [number for _, numbers in read for number in numbers] == [1, 2, 5]


cells = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cc"])
    | st.sampled_from(list('\n\r,;"\t|\x85\u2028')),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(cells, min_size=2, max_size=4), min_size=1, max_size=12),
    terminator=st.sampled_from(["\n", "\r\n", "\r"]),
    block_bytes=st.integers(1, 40),
)
def test_records_written_by_the_csv_module_are_read_back_with_any_block_size(
    rows: list[list[str]], terminator: str, block_bytes: int, tmp_path: Path
) -> None:
    path = tmp_path / "written.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator=terminator, quoting=csv.QUOTE_ALL).writerows(rows)
    source = csv_text.CsvFile(path, "utf-8", "utf-8", ",", 0, path.stat().st_size)
    with pytest.MonkeyPatch.context() as patch, path.open("rb") as file:
        patch.setattr(csv_text, "BLOCK_BYTES", block_bytes)
        assert [row for read, _ in batches(Lines(file, source), ",", max_rows=2) for row in read] == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=12),
    block_bytes=st.integers(1, 40),
)
def test_reading_can_continue_at_the_offset_after_any_batch(
    rows: list[list[str]], block_bytes: int, tmp_path: Path
) -> None:
    path = tmp_path / "written.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(rows)
    source = csv_text.CsvFile(path, "utf-8", "utf-8", ",", 0, path.stat().st_size)
    read: list[list[str]] = []
    offset = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_text, "BLOCK_BYTES", block_bytes)
        while True:
            with path.open("rb") as file:
                lines = Lines(file, source, offset)
                batch = next(batches(lines, ",", max_rows=1), None)
                if batch is None:
                    break
                read += batch[0]
                offset = lines.offset
    assert read == rows
