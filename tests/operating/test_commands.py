"""`purge`, `backup` and `doctor`, with and without a running server."""

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.process import ServerProcess, run_command
from tests.support.serving import Serving

PAGE_BYTES = 4096
LIVE = pytest.mark.parametrize("live", [True, False], ids=["beside a server", "without one"])


@contextmanager
def _prepared(serving: Serving, folder: Path, *, live: bool) -> Iterator[ServerProcess]:
    """A record with three completed jobs, one failed, one of them with files; the server goes on, or not."""
    server = serving(folder)
    for _ in range(2):
        server.wait_for(server.submit("noop"))
    server.wait_for(server.submit("writes-files", {"text": "hello"}))
    server.wait_for(server.submit("fails", {"text": "no"}))
    if not live:
        assert server.stop() == 0
    yield server


@LIVE
def test_purge_deletes_ended_jobs_by_age_and_status(serving: Serving, tmp_path: Path, live: bool) -> None:
    with _prepared(serving, tmp_path, live=live) as server:
        where = ("--data-dir", str(tmp_path))
        assert run_command("purge", "--older-than", "1h", *where).stdout == "0 jobs were deleted\n"
        completed = ("purge", "--older-than", "0s", "--status", "completed", *where)
        assert run_command(*completed, "--dry-run").stdout == "3 jobs would be deleted\n"
        assert run_command(*completed).stdout == "3 jobs were deleted\n"
        assert list((tmp_path / "jobs").iterdir()) == []
        if not live:
            server.restart()
        assert [job["status"] for job in server.request("GET", "/jobs").json["jobs"]] == ["failed"]


@LIVE
def test_purge_names_what_it_may_not_delete_and_fails(serving: Serving, tmp_path: Path, live: bool) -> None:
    with _prepared(serving, tmp_path, live=live) as server:
        job_id = next(path.name for path in (tmp_path / "jobs").iterdir())
        with _immutable(tmp_path / "jobs" / job_id / "kept"):
            done = run_command("purge", "--older-than", "0s", "--data-dir", str(tmp_path))
        assert (done.returncode, done.stdout) == (2, "4 jobs were deleted\n")
        assert "headway: files of 1 of them could not be deleted" in done.stderr
        assert f"jobs/{job_id}/kept" in (server.log() if live else done.stderr)


@contextmanager
def _immutable(path: Path) -> Iterator[None]:
    """A file that not even root can delete meanwhile."""
    path.write_text("x")
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", path], check=False).returncode:
        pytest.skip("no file can be made immutable here")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


@LIVE
def test_a_backup_is_a_complete_record(serving: Serving, tmp_path: Path, live: bool) -> None:
    with _prepared(serving, tmp_path / "data", live=live):
        target = tmp_path / "copy.db"
        done = run_command("backup", str(target), "--data-dir", str(tmp_path / "data"))
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{target.stat().st_size:,} bytes written" in done.stdout
        assert target.stat().st_mode & 0o777 == 0o600
        connection = sqlite3.connect(target)
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (4,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        again = run_command("backup", str(target), "--data-dir", str(tmp_path / "data"))
        assert (again.returncode, "exists already" in again.stderr) == (2, True)
        nowhere = run_command("backup", str(tmp_path / "no" / "such.db"), "--data-dir", str(tmp_path / "data"))
        assert (nowhere.returncode, nowhere.stderr.count("\n")) == (2, 1)


@LIVE
def test_the_doctor_reports_no_faults_in_a_healthy_record(serving: Serving, tmp_path: Path, live: bool) -> None:
    with _prepared(serving, tmp_path, live=live):
        done = run_command("doctor", "--data-dir", str(tmp_path))
        assert (done.returncode, done.stderr) == (0, "")
        assert "endedJobs  4" in done.stdout
        assert "integrity  ok" in done.stdout


def test_the_doctor_reports_damage_and_exits_with_1(serving: Serving, tmp_path: Path) -> None:
    with _prepared(serving, tmp_path, live=False):
        database = tmp_path / "headway.db"
        content = bytearray(database.read_bytes())
        start = len(content) // 2 // PAGE_BYTES * PAGE_BYTES  # a page's head: what is behind it may be empty
        content[start : start + 2048] = b"\xa5" * 2048
        database.write_bytes(content)
        done = run_command("doctor", "--data-dir", str(tmp_path))
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
        assert "integrity  damaged" in done.stdout or "damaged" in done.stderr or "cannot be read" in done.stderr


@LIVE
def test_the_doctor_counts_afresh(serving: Serving, tmp_path: Path, live: bool) -> None:
    with _prepared(serving, tmp_path, live=live), closing(sqlite3.connect(tmp_path / "headway.db")) as record:
        record.execute("UPDATE counts SET jobs = jobs + 1, bytes = bytes + 9 WHERE status = 'completed' AND jobs > 0")
        record.execute("UPDATE jobs SET bytes = bytes + 7 WHERE id = (SELECT min(id) FROM jobs)")
        record.commit()
        done = run_command("doctor", "--data-dir", str(tmp_path))
        assert done.returncode == 1
        assert re.search(r"the counts say that local has \d completed \S+ jobs with [\d,]+ bytes; there", done.stdout)
        assert re.search(r"job \S+ is said to keep [\d,]+ bytes; it keeps", done.stdout)


def test_a_directory_without_a_record_is_a_one_line_error(tmp_path: Path) -> None:
    done = run_command("doctor", "--data-dir", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "--data-dir" in done.stderr


def test_the_socket_is_reached_below_a_long_path_too(serving: Serving, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20) / ("path" * 20)
    with _prepared(serving, folder, live=True):
        assert run_command("doctor", "--data-dir", str(folder)).returncode == 0
        assert (folder / "headway.sock").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "wrong", [("--older-than", "soon"), ("--older-than", "99999999d"), ("--older-than", "1d", "--status", "running")]
)
def test_an_invalid_purge_is_a_one_line_error(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    done = run_command("purge", *wrong, "--data-dir", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"headway: {wrong[-2]}: ")
