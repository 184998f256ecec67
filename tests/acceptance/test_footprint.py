"""A big upload takes little memory: server and children together, as the kernel counts them (PSS)."""

import csv
import http.client
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess, descendants
from tests.support.serving import Serving

CSV_BYTES = 80_000_000
ROWS_A_BLOCK = 3_000
"""With long rows, since a copy of the file is a matter of its bytes, and the time to read it one of its rows."""
LIMIT_BYTES = 140 * 1024 * 1024
"""Server and child take about 90 MiB, however large the file is. With a copy of the file they would take 165 MiB."""


@pytest.mark.slow
def test_a_large_csv_is_uploaded_and_read_without_a_copy_in_memory(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path, from_scratch=True)
    rows, chunks = _orders()
    most = [0]

    def watched(body: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in body:
            most[0] = max(most[0], _pss_bytes(server))
            yield chunk

    job_id = _upload(server, watched(chunks))
    for _state in server.states(job_id):
        most[0] = max(most[0], _pss_bytes(server))
    job = server.job(job_id)
    assert job["status"] == "completed", job["error"]
    assert job["result"]["rows"] == rows
    assert most[0] < LIMIT_BYTES, f"{most[0] / 1024 / 1024:.0f} MiB"


def _orders() -> tuple[int, Iterator[bytes]]:
    """Return the number of rows, and the file in pieces of about a megabyte."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows(
        (number, f"customer {number % 9973}", f"{number / 7:.2f}", f"Left with a neighbour: {number:>300}")
        for number in range(ROWS_A_BLOCK)
    )
    block = text.getvalue().encode()
    blocks = CSV_BYTES // len(block) + 1

    def pieces() -> Iterator[bytes]:
        yield b"order,customer,amount,remark\n"
        for _ in range(blocks):
            yield block

    return ROWS_A_BLOCK * blocks, pieces()


def _upload(server: ServerProcess, content: Iterator[bytes]) -> str:
    """Send one multipart request in chunks, as it is generated."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="orders.csv"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head
        yield from content
        yield b"\r\n--b--\r\n"

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_TIMEOUT_S)
    try:
        connection.request("POST", "/jobs/csv-report", body(), {"Content-Type": "multipart/form-data; boundary=b"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 202, answer
        return str(answer["jobId"])
    finally:
        connection.close()


def _pss_bytes(server: ServerProcess) -> int:
    """The proportional set size of the server and all its descendants."""
    return sum(_pss_of(pid) for pid in [server.process.pid, *descendants(server.process.pid)])


def _pss_of(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0  # it has just ended
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
