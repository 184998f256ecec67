"""A full or failing disk, a locked or damaged file: no 202 for a job that is not stored, and nothing lost afterwards.

Each fault is made to a live server and taken back; the server is not restarted in between.
"""

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.disks import CannotMountError, mounted
from tests.support.process import ROOT, WAIT_TIMEOUT_S, ServerProcess, calm_s, eventually
from tests.support.record import sound_record
from tests.support.serving import LATER, TEST_JOBS

GATED_JOBS = str(ROOT / "tests" / "job_types" / "gated_jobs.py")
BALLAST = b"\0" * 65536
TEXT = {"text": "x" * 20_000}
DISK_BYTES = 16 * 1024 * 1024


class FaultyServer(ServerProcess):
    """A server whose database can be limited in size."""

    script = ROOT / "tests" / "support" / "faulty_server.py"


@dataclass
class Faulty:
    """A server, and a way to break its store."""

    server: ServerProcess
    data_dir: Path
    fault: Callable[[], AbstractContextManager[None]]
    stops_everything: bool = True
    """Whether every write fails, even one as small as a job's end."""


@contextmanager
def _serving(data_dir: Path, kind: type[ServerProcess] = ServerProcess, **env: str) -> Iterator[ServerProcess]:
    arguments = ("--jobs", str(TEST_JOBS), "--jobs", GATED_JOBS, "--max-tasks", "6", "--max-processes", "6")
    with kind(data_dir, *arguments, env=env) as server:
        yield server


@contextmanager
def a_full_disk(folder: Path) -> Iterator[Faulty]:
    """A file system of its own, filled to the last byte."""
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(mounted(folder, DISK_BYTES))
        except CannotMountError as error:
            pytest.skip(f"no file system can be mounted here: {error}")

        @contextmanager
        def filled() -> Iterator[None]:
            ballast = disk / "ballast"
            with ballast.open("wb", 0) as file:
                size = len(BALLAST)
                while size:
                    try:
                        file.write(BALLAST[:size])
                    except OSError:
                        size //= 2
            yield
            ballast.unlink()

        with _serving(disk / "data", HEADWAY_MIN_FREE_BYTES="0") as server:
            yield Faulty(server, disk / "data", filled)


@contextmanager
def a_database_that_must_not_grow(folder: Path) -> Iterator[Faulty]:
    """`max_page_count`: SQLite's own "database or disk is full", where no file system can be mounted."""
    pages = folder / "pages"

    @contextmanager
    def limited() -> Iterator[None]:
        pages.write_text("1")  # SQLite takes this to mean its present size
        yield
        pages.unlink()

    with _serving(folder / "data", FaultyServer, HEADWAY_TEST_PAGES_FILE=str(pages)) as server:
        yield Faulty(server, folder / "data", limited, stops_everything=False)


@contextmanager
def an_io_error(folder: Path) -> Iterator[Faulty]:
    """RLIMIT_FSIZE: write(2) beyond the limit fails with EFBIG, which is an I/O error to SQLite."""
    with _serving(folder / "data") as server:

        @contextmanager
        def limited() -> Iterator[None]:
            pid = server.process.pid
            before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            wal_bytes = (folder / "data" / "headway.db-wal").stat().st_size
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (wal_bytes, before[1]))
            yield
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

        yield Faulty(server, folder / "data", limited)


@contextmanager
def a_foreign_lock(folder: Path) -> Iterator[Faulty]:
    """Another program holds the write lock."""

    @contextmanager
    def locked() -> Iterator[None]:
        with closing(sqlite3.connect(folder / "data" / "headway.db", isolation_level=None, timeout=20)) as foreign:
            foreign.execute("BEGIN IMMEDIATE")
            yield
            foreign.execute("ROLLBACK")

    with _serving(folder / "data") as server:
        yield Faulty(server, folder / "data", locked)


@pytest.mark.parametrize("faulty", [a_full_disk, a_database_that_must_not_grow, an_io_error, a_foreign_lock])
def test_a_failing_store_accepts_nothing_keeps_answering_and_recovers_by_itself(
    tmp_path: Path, faulty: Callable[[Path], AbstractContextManager[Faulty]]
) -> None:
    with faulty(tmp_path) as broken:
        server, gate = broken.server, tmp_path / "gate"
        accepted = [server.submit("says", TEXT, LATER) for _ in range(5)]
        running = [server.submit(job_type, {"gate": str(gate)}) for job_type in ("gated-async", "gated-process")]
        streams = [server.states(job_id) for job_id in running]
        for stream in streams:
            next(state for state in stream if state["message"])
        with broken.fault():
            accepted += _submitted_until_refused(server)
            assert server.request("GET", "/readyz").status == 503
            assert server.request("GET", "/healthz").status == 200
            _polls_go_on(server, [*accepted, *running])
            for stream in streams:  # progress is in memory
                before = next(stream)
                assert next(stream)["done"] > before["done"]
            gate.touch()
            if broken.stops_everything:
                eventually(lambda: server.log().count("the outcome could not be recorded yet") >= len(running))
                for job_id in running:
                    assert server.job(job_id)["status"] == "running"
        eventually(lambda: server.request("GET", "/readyz").status == 200)
        for stream, job_id in zip(streams, running, strict=True):
            *_, last = stream  # still the same connection
            assert last["status"] == "completed", last
            assert server.job(job_id)["result"] == 1
        accepted.append(server.submit("says", TEXT))
        assert server.wait_for(accepted[-1])["status"] == "completed"
        server.kill()
        assert sound_record(broken.data_dir).keys() == {*accepted, *running}
        assert "Traceback" not in server.log(), server.log()


def _submitted_until_refused(server: ServerProcess) -> list[str]:
    """Submit until two submissions in a row were refused. Returns the ids of the accepted ones."""
    accepted: list[str] = []
    refused = 0
    while refused < 2:
        reply = server.request("POST", f"/jobs/says{LATER}", TEXT)
        if reply.status == 202:
            accepted.append(reply.json["jobId"])
            refused = 0
            continue
        refused += 1
        assert (reply.status, reply.json["type"]) == (503, "/problems/store-unavailable"), reply.body
        assert int(reply.headers["Retry-After"]) >= 1
    return accepted


def _polls_go_on(server: ServerProcess, job_ids: list[str]) -> None:
    for job_id in job_ids:
        started_s = calm_s()
        assert server.request("GET", f"/jobs/{job_id}").status in (200, 202)
        assert calm_s() - started_s < 1.5, "a poll waited for the store"
    assert server.request("GET", "/jobs").status == 200
    assert server.request("GET", "/jobs/stats").json["total"] >= len(job_ids)


def test_an_upload_is_refused_when_the_disk_is_full_and_leaves_nothing_on_it(tmp_path: Path) -> None:
    with a_full_disk(tmp_path) as broken:
        server = broken.server
        body: dict[str, Any] = {"document": b"line\n" * (DISK_BYTES // 4)}
        with pytest.raises(AssertionError, match="store-unavailable"):
            server.upload("reads-upload", body)
        eventually(lambda: not any((broken.data_dir / "incoming").iterdir()))
        assert server.request("GET", "/jobs/stats").json["total"] == 0
        assert server.wait_for(server.submit("noop"))["status"] == "completed"


def _started(data_dir: Path, *prefix: str) -> tuple[int, str]:
    """Start a server that cannot start, within five seconds. Returns its exit code and its message."""
    command = [*prefix, sys.executable, str(ROOT / "run.py"), "--port", "0", "--data-dir", str(data_dir)]
    started_s = calm_s()
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_TIMEOUT_S, check=False)
    assert calm_s() - started_s < 5
    assert done.stdout == ""
    return done.returncode, done.stderr


def _record_with_a_running_job(folder: Path) -> Path:
    with _serving(folder / "data") as server:
        server.wait_for(server.submit("gated-async", {"gate": "/nowhere/at/all"}), "running")
        for _ in range(30):
            server.submit("says", TEXT, LATER)
        server.kill()
    with closing(sqlite3.connect(folder / "data" / "headway.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "data" / "headway.db"


def _overwrite_its_middle(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)  # the header stays intact
    database.write_bytes(content)


def _drop_a_table(database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("DROP TABLE history")


def _drop_the_jobs(database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("DROP TABLE jobs")


def _make_it_a_directory(database: Path) -> None:
    database.unlink()
    database.mkdir()


def _cut_it_short(database: Path) -> None:
    os.truncate(database, 6000)


@pytest.mark.parametrize(
    "damage", [_overwrite_its_middle, _drop_a_table, _drop_the_jobs, _make_it_a_directory, _cut_it_short]
)
def test_an_unusable_record_ends_the_start_in_time_with_one_line_and_is_left_unchanged(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    database = _record_with_a_running_job(tmp_path)
    damage(database)
    before = database.read_bytes() if database.is_file() else b""
    code, said = _started(tmp_path / "data")
    assert (code, said.count("\n")) == (2, 1), said
    assert said.startswith("headway: ")
    assert (database.read_bytes() if database.is_file() else b"") == before


def test_a_full_disk_ends_the_start_in_time_and_a_start_with_free_space_finds_everything(
    tmp_path: Path,
) -> None:
    with a_full_disk(tmp_path) as broken:
        job_id = broken.server.submit("says", TEXT, LATER)
        running = broken.server.submit("gated-async", {"gate": str(tmp_path / "gate")})
        broken.server.wait_for(running, "running")
        broken.server.kill()
        with broken.fault():
            code, said = _started(broken.data_dir)
            assert (code, said.count("\n")) == (2, 1), said
        broken.server.restart()
        assert broken.server.job(job_id)["status"] == "queued"
        assert broken.server.wait_for(running, "running")["attempt"] == 2


def test_an_unreadable_directory_ends_the_start_in_time(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    # Root can read everything unless it lacks the capabilities to do so.
    bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    code, said = _started(closed, *bound)
    assert (code, said.count("\n")) == (2, 1), said
    assert "--data-dir" in said
