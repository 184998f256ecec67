"""The lock of a job: held by one at a time, also when the file that it is has been deleted meanwhile."""

import threading
from pathlib import Path

import pytest
from headway.running.processes.child.job_lock import JobLock

from tests.support.process import WAIT_TIMEOUT_S, eventually


def is_waited_for(path: Path) -> bool:
    """Whether somebody waits for a lock on this file: proc(5), /proc/locks."""
    waiting = [line for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    return any(line.split()[6].endswith(f":{path.stat().st_ino}") for line in waiting)


def test_a_lock_that_is_released_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "j"
    JobLock.acquire(path).release()
    assert not path.exists()
    JobLock.acquire(path).release()


def test_who_has_waited_for_a_deleted_file_locks_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "j"
    first = JobLock.acquire(path)
    acquired: list[JobLock] = []
    waits = threading.Thread(target=lambda: acquired.append(JobLock.acquire(path)), daemon=True)
    waits.start()
    eventually(lambda: is_waited_for(path))
    path.unlink()
    third = JobLock.acquire(path)
    first.release()
    eventually(lambda: is_waited_for(path))
    assert not acquired
    third.release()
    waits.join(WAIT_TIMEOUT_S)
    assert path.exists(), "the lock that is held now has a file"
    acquired[0].release()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "j").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        JobLock.acquire(tmp_path / "j")
    assert not (tmp_path / "elsewhere").exists()
