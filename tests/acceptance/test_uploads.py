"""Resumable uploads of a real server: large ones over a line that breaks, and a server that is killed in between."""

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.process import ServerProcess
from tests.support.serving import LATER, Serving
from tests.support.uploading import SUM_JOBS, announce, offset_of, open_part, send_part, sha256, uploaded

MIB = 1024 * 1024
FILE_MIB = 200
CUTS = 10
MOST_RESIDENT_KIB = 100 * 1024
KILLS = 5
PARTS_AT_ONCE, PART_MIB = 60, 8


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    module = tmp_path / "sum_jobs.py"
    module.write_text(SUM_JOBS, "utf-8")
    return module


class Large:
    """A file of 200 MiB of which no two are alike, without the memory for it."""

    def __init__(self) -> None:
        self._rest = hashlib.sha256(b"large").digest() * (MIB // 32)

    def megabyte(self, number: int) -> bytes:
        return number.to_bytes(32, "big") + self._rest[32:]

    def from_offset(self, offset: int) -> Iterator[bytes]:
        first, skipped = divmod(offset, MIB)
        for number in range(first, FILE_MIB):
            yield self.megabyte(number)[skipped if number == first else 0 :]

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for piece in self.from_offset(0):
            digest.update(piece)
        return digest.hexdigest()


def send_until(server: ServerProcess, upload: str, pieces: Iterator[bytes], offset: int, most_bytes: int) -> None:
    """Send a part that announces all the rest, and cut it off after `most_bytes`."""
    sent = 0
    with open_part(server, upload, offset, FILE_MIB * MIB - offset) as part, suppress(ConnectionError):
        for piece in pieces:
            part.send(piece)
            sent += len(piece)
            if sent >= most_bytes:
                part.cut()
                return
        assert part.reply().status == 204


def resident_peak_kib(server: ServerProcess) -> int:
    """The most memory that the server's process has had (proc(5), `VmHWM`)."""
    status = Path(f"/proc/{server.process.pid}/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.slow
def test_a_large_upload_that_is_cut_ten_times_arrives_once_and_whole_in_little_memory(
    tmp_path: Path, jobs: Path
) -> None:
    large = Large()
    with ServerProcess(tmp_path / "data", "--jobs", str(jobs), from_scratch=True) as server:
        upload = announce(server, FILE_MIB * MIB, filename="large.bin")
        offsets = [0]
        for _ in range(CUTS):
            send_until(server, upload, large.from_offset(offsets[-1]), offsets[-1], FILE_MIB * MIB // (CUTS + 1))
            offsets.append(offset_of(server, upload))
        assert offsets == sorted(set(offsets)), "a part that was cut left nothing"
        assert offsets[-1] < FILE_MIB * MIB
        send_until(server, upload, large.from_offset(offsets[-1]), offsets[-1], FILE_MIB * MIB)
        peak_kib = resident_peak_kib(server)
        job = server.wait_for(server.submit("sum-file", {"file": upload}))
        assert job["result"] == {"sha256": large.sha256(), "bytes": FILE_MIB * MIB, "name": "large.bin"}
        assert peak_kib < MOST_RESIDENT_KIB


@pytest.mark.slow
def test_parts_that_arrive_at_once_hold_less_than_a_mebibyte_each(tmp_path: Path) -> None:
    data = bytes(PART_MIB * MIB)
    with (
        ServerProcess(tmp_path, from_scratch=True) as server,
        ThreadPoolExecutor(PARTS_AT_ONCE) as clients,
    ):
        uploads = [announce(server, len(data)) for _ in range(PARTS_AT_ONCE)]
        before_kib = resident_peak_kib(server)
        replies = list(clients.map(lambda upload: send_part(server, upload, data, 0), uploads))
        assert {reply.status for reply in replies} == {204}
        assert resident_peak_kib(server) - before_kib < PARTS_AT_ONCE * 1024


def test_a_server_that_is_killed_while_parts_arrive_has_kept_what_it_acknowledged(tmp_path: Path, jobs: Path) -> None:
    data = Large().megabyte(1) * 4
    with ServerProcess(tmp_path / "data", "--jobs", str(jobs)) as server:
        upload = announce(server, len(data))
        stored = tmp_path / "data" / upload.strip("/") / "bytes"
        acknowledged = 0
        for _ in range(2):
            reply = send_part(server, upload, data[acknowledged : acknowledged + MIB], acknowledged)
            acknowledged = int(reply.headers["Upload-Offset"])
            with open_part(server, upload, acknowledged, len(data) - acknowledged) as part:
                part.send(data[acknowledged : acknowledged + MIB // 2])
                server.kill()
            server.restart()
            assert acknowledged <= offset_of(server, upload) <= acknowledged + MIB // 2
            acknowledged = offset_of(server, upload)
            assert stored.read_bytes() == data[:acknowledged]
        assert send_part(server, upload, data[acknowledged:], acknowledged).status == 204
        server.kill()
        server.restart()
        job = server.wait_for(server.submit("sum-file", {"file": upload}))
        assert job["result"]["sha256"] == sha256(data)


def test_an_upload_belongs_to_one_job_or_to_none_whenever_the_server_is_killed(
    serving: Serving, tmp_path: Path
) -> None:
    server, text = serving(tmp_path), b"Dear reader"
    for attempt in range(KILLS):
        upload, known = uploaded(server, text), len(server.request("GET", "/jobs").json["jobs"])

        def submit(upload: str = upload) -> None:
            with suppress(OSError, AssertionError):
                server.submit("reads-upload", {"document": upload}, LATER)

        submitting = threading.Thread(target=submit)
        submitting.start()
        time.sleep(attempt * 0.003)  # kills at another point each time
        server.kill()
        submitting.join()
        server.restart()
        jobs = server.request("GET", "/jobs").json["jobs"]
        again = server.request("POST", f"/jobs/reads-upload{LATER}", {"document": upload})
        assert again.status == (422 if len(jobs) > known else 202), again.body
        took = (jobs if len(jobs) > known else [again.json, *jobs])[0]["jobId"]
        assert (tmp_path / "jobs" / took / "inputs" / "document").read_bytes() == text
    assert list((tmp_path / "uploads").iterdir()) == []
