"""Reading CSV files: their encoding and delimiter, lines by byte offset, records in batches.

Memory holds at most a block of lines and one batch of records, however large the file is.
"""

import codecs
import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from headway import JobFailed

SAMPLE_BYTES: Final = 64 * 1024
BLOCK_BYTES: Final = 64 * 1024
LINE_LIMIT_BYTES: Final = 2 * 1024 * 1024
FIELD_LIMIT_CHARS: Final = 1024 * 1024
BATCH_BYTES: Final = 128 * 1024
RECORD_LIMIT_BYTES: Final = 4 * 1024 * 1024
DELIMITERS: Final = (",", ";", "\t", "|")

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MAGIC: Final = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook; export the sheet as CSV first"),
    (b"\x1f\x8b", "gzip-compressed; unpack it first"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; export the sheet as CSV first"),
    (b"%PDF-", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"SQLite format 3", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
)
_CONTROLS: Final = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\x1b")


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file that can be read line by line. `encoding` is that of the upload, `codec` that of the file at `path`."""

    path: Path
    encoding: str
    codec: str
    delimiter: str
    start: int
    """Byte offset of the header: after a byte order mark or Excel's `sep=` line."""
    size_bytes: int


def open_csv(path: Path, work_dir: Path) -> CsvFile:
    """Detect the encoding and delimiter of `path`.

    UTF-16 is first converted to UTF-8 in `work_dir`, so that every line end is one byte and reading can start at any
    byte offset. The same file always gives the same result.

    Raises JobFailed if the file is not text.
    """
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    encoding, start = _detect_encoding(sample)
    codec = encoding
    if encoding.startswith("utf-16"):
        path, codec, start = _as_utf8(path, encoding, start, work_dir / "transcoded.csv"), "utf-8", 0
        with path.open("rb") as file:
            sample = file.read(SAMPLE_BYTES)
    text = sample[start:].decode(codec, "replace")
    declared = _declared_delimiter(text)
    if declared is not None:
        first_line = sample[start:].splitlines(keepends=True)[0]
        start += len(first_line)
    return CsvFile(
        path=path,
        encoding=encoding,
        codec=codec,
        delimiter=declared or _sniff_delimiter(text, cut=len(sample) == SAMPLE_BYTES),
        start=start,
        size_bytes=path.stat().st_size,
    )


def _detect_encoding(sample: bytes) -> tuple[str, int]:
    for bom, encoding in _BOMS:
        if sample.startswith(bom):
            return encoding, len(bom)
    for magic, what in _MAGIC:
        if sample.startswith(magic):
            _not_csv(f"The file is {what}.")
    if b"\0" in sample:
        return _utf16_without_mark(sample), 0
    if len(sample) - len(sample.translate(None, _CONTROLS)) > len(sample) // 100:
        _not_csv("The file is binary: it is full of control characters.")
    try:
        # final=False: the sample may end inside a character.
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=False)
    except UnicodeDecodeError:
        return "cp1252", 0
    return "utf-8", 0


def _utf16_without_mark(sample: bytes) -> str:  # noqa: RET503 - _not_csv does not return
    """Latin text in UTF-16 has a zero in nearly every second byte, and hardly any in the others."""
    pairs = max(1, len(sample) // 2)
    high, low = sample[1::2].count(0) / pairs, sample[0::2].count(0) / pairs
    mostly, hardly = 0.5, 0.05
    if high > mostly and low < hardly:
        return "utf-16-le"
    if low > mostly and high < hardly:
        return "utf-16-be"
    _not_csv("The file is binary: it contains NUL bytes.")


def _not_csv(detail: str) -> NoReturn:
    raise JobFailed("Not a CSV file", detail=detail)


def _as_utf8(path: Path, encoding: str, start: int, target: Path) -> Path:
    if not target.exists():
        # It gets its final name only when it is complete: an attempt may be killed at any time.
        partial = target.with_suffix(".partial")
        decoder = codecs.getincrementaldecoder(encoding)("replace")
        with path.open("rb") as source, partial.open("wb") as out:
            source.seek(start)
            while block := source.read(BLOCK_BYTES):
                out.write(decoder.decode(block).encode())
            out.write(decoder.decode(b"", final=True).encode())
        partial.replace(target)
    return target


def _declared_delimiter(text: str) -> str | None:
    """Return the delimiter of Excel's own first line, `sep=;`."""
    first = text.split("\n", 1)[0].rstrip("\r")
    return first[4] if len(first) == len("sep=?") and first.startswith("sep=") else None


def _sniff_delimiter(text: str, *, cut: bool) -> str:
    """Return the delimiter with which most records are as wide as the header.

    A delimiter that does not occur in the header is not considered. `csv.Sniffer` is not used: it is slow on wide
    samples and mistakes letters for delimiters.
    """
    lines = text.splitlines(keepends=True)
    if cut and len(lines) > 1:
        del lines[-1]
    best, best_score = DELIMITERS[0], (0.0, 1)
    for delimiter in DELIMITERS:
        try:
            widths = [len(record) for record in csv.reader(lines, delimiter=delimiter) if record]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            score = (Counter(widths)[widths[0]] / len(widths), widths[0])
            if score > best_score:
                best, best_score = delimiter, score
    return best


class Lines:
    """The decoded lines of a CSV file from a byte offset on. Iterate it once.

    `offset` is the end of the last line yielded, which is a record's end whenever csv.reader has just returned one.
    (A text file's own `tell` is disabled while it is iterated.)
    """

    def __init__(self, file: BinaryIO, source: CsvFile, offset: int | None = None, number: int = 0) -> None:
        self.offset = source.start if offset is None else offset
        self.number = number
        """The number of lines before `offset`."""
        self.repaired = 0
        """Lines that were not valid UTF-8 and were read as Windows-1252."""
        self.record_start = self.offset
        """Moved on by the reader of records, so that a record that never ends is detected."""
        self._file = file
        self._codec = source.codec

    def __iter__(self) -> Iterator[str]:
        self._file.seek(self.offset)
        tail = b""
        while block := self._file.read(BLOCK_BYTES):
            # Like csv.reader, bytes.splitlines splits at LF, CR and CRLF only.
            lines = (tail + block).splitlines(keepends=True)
            tail = lines.pop()  # may be incomplete, or end in a CR whose LF is in the next block
            yield from self._decode(lines)
            if len(tail) > LINE_LIMIT_BYTES or self.offset - self.record_start > RECORD_LIMIT_BYTES:
                raise self.too_long()
        if tail:
            yield from self._decode([tail])

    def _decode(self, lines: list[bytes]) -> Iterator[str]:
        codec = self._codec
        for line in lines:
            self.offset += len(line)
            self.number += 1
            try:
                yield line.decode(codec)
            except UnicodeDecodeError:
                self.repaired += 1
                yield line.decode("cp1252", "replace")

    def too_long(self) -> JobFailed:
        """Return the failure for a field, line or record over its limit."""
        return JobFailed(
            "A record is too long",
            detail=f"Near line {self.number + 1:,}: a field of more than {FIELD_LIMIT_CHARS:,} characters "
            f"or a line of more than {LINE_LIMIT_BYTES:,} bytes. Perhaps a quotation mark is never closed.",
        )


def batches(lines: Lines, delimiter: str, *, max_rows: int) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Yield the records, and the line that each begins on, in batches of about BATCH_BYTES.

    Between two batches `lines.offset` is the end of the last record yielded. Blank lines are skipped.
    Raises JobFailed for a record over the limits.
    """
    csv.field_size_limit(FIELD_LIMIT_CHARS)
    reader = csv.reader(lines, delimiter=delimiter)
    rows: list[list[str]] = []
    numbers: list[int] = []
    number, ceiling = lines.number + 1, lines.offset + BATCH_BYTES
    try:
        for row in reader:
            if row:
                rows.append(row)
                numbers.append(number)
            number = lines.number + 1
            if lines.offset >= ceiling or len(rows) >= max_rows:
                lines.record_start = lines.offset
                if rows:
                    yield rows, numbers
                rows, numbers, ceiling = [], [], lines.offset + BATCH_BYTES
    except csv.Error as error:
        raise lines.too_long() from error
    if rows:
        yield rows, numbers


def read_header(lines: Lines, delimiter: str) -> list[str]:
    """Read the first record; empty for an empty file. `batches` continues after it."""
    rows, _ = next(batches(lines, delimiter, max_rows=1), ([[]], []))
    return rows[0]
