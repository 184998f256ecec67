"""How a CSV file is written: its encoding and delimiter, its lines by byte offset, its records in batches.

Nothing here holds more than a block of lines and one batch of records, however large the file is.
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
    """A file whose bytes can be read as lines: `codec` is what to decode, `encoding` what it was found in."""

    path: Path
    encoding: str
    codec: str
    delimiter: str
    start: int
    """Byte offset of the header, behind a byte order mark or Excel's `sep=` line."""
    size_bytes: int


def open_csv(path: Path, work_dir: Path) -> CsvFile:
    """Find out how `path` is written.

    UTF-16 is rewritten as UTF-8 in `work_dir` first: then a line end is one byte wherever it stands, and
    a byte offset is a place where reading can start. The same file always gives the same answer.

    Raises JobFailed when the bytes are no text.
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
    """Latin text in UTF-16 has a zero in (nearly) every second byte, and none in the others."""
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
        # Under its final name only when it is whole: an attempt may be killed anywhere.
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
    """Excel's own first line, `sep=;`."""
    first = text.split("\n", 1)[0].rstrip("\r")
    return first[4] if len(first) == len("sep=?") and first.startswith("sep=") else None


def _sniff_delimiter(text: str, *, cut: bool) -> str:
    """Return the delimiter under which most records are as wide as the header.

    One that does not occur in the header is no candidate. `csv.Sniffer` is not used: it is slow on wide
    samples and takes letters for delimiters.
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
    """The decoded lines of a CSV file, from a byte offset on; iterate it once.

    `offset` stands behind the last line given: whenever csv.reader has returned a record, that is a
    record's end. (A text file's own `tell` is switched off while it is iterated.)
    """

    def __init__(self, file: BinaryIO, source: CsvFile, offset: int | None = None, number: int = 0) -> None:
        self.offset = source.start if offset is None else offset
        self.number = number
        """Lines before `offset`."""
        self.repaired = 0
        """Lines that were not valid UTF-8 and were read as Windows-1252."""
        self.record_start = self.offset
        """Moved by whoever reads records, so that one that never ends is found out."""
        self._file = file
        self._codec = source.codec

    def __iter__(self) -> Iterator[str]:
        self._file.seek(self.offset)
        tail = b""
        while block := self._file.read(BLOCK_BYTES):
            # bytes.splitlines knows LF, CR and CRLF and nothing else, exactly as csv.reader does.
            lines = (tail + block).splitlines(keepends=True)
            tail = lines.pop()  # may be cut short, or be a CR whose LF is in the next block
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
        """Return the failure for a field, line or record that does not end."""
        return JobFailed(
            "A record is too long",
            detail=f"Near line {self.number + 1:,}: a field of more than {FIELD_LIMIT_CHARS:,} characters "
            f"or a line of more than {LINE_LIMIT_BYTES:,} bytes. Perhaps a quotation mark is never closed.",
        )


def batches(lines: Lines, delimiter: str, *, max_rows: int) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Give the records and the line that each begins on, in batches of about BATCH_BYTES.

    Between two batches `lines.offset` is the end of the last record given. Blank lines are no records.
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
    """Take the first record; empty for an empty file. Reading goes on behind it with `batches`."""
    rows, _ = next(batches(lines, delimiter, max_rows=1), ([[]], []))
    return rows[0]
