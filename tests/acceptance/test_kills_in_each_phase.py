"""A real server whose processes are killed in each phase of a `def` job's attempt, with a real SIGKILL.

No job is lost, none runs twice at once, and no process is left.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.process import ServerProcess, alive, descendants, eventually
from tests.support.serving import Serving

JOBS = '''
import fcntl, os, time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from headway import BlockingContext, Depends, job

FOLDER = Path(os.environ["FOLDER"])

def note(entry: str) -> None:
    with (FOLDER / "diary").open("a") as diary:
        diary.write(f"{entry}\\n")

def phase(name: str) -> None:
    """Where the test kills, the first time that it is reached."""
    if name != os.environ["PHASE"]:
        return
    try:
        (FOLDER / "reached").open("x").write(str(os.getpid()))
    except FileExistsError:
        return
    while True:
        time.sleep(0.01)

def model() -> list[int]:
    phase("load before forking")
    return [1, 2, 3]

def connection() -> Iterator[None]:
    phase("set-up")
    yield
    phase("clean-up")

def run(ctx: BlockingContext) -> int:
    """Fails if another attempt runs at the same time."""
    with (FOLDER / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        note(f"begins {ctx.attempt}")
        phase("handler")
        ctx.checkpoint(ctx.attempt)
        phase("after a checkpoint")
        note(f"ends {ctx.attempt}")
    return ctx.attempt

Model = Annotated[list[int], Depends(model, before_fork=True)]
Connection = Annotated[None, Depends(connection)]

@job("once", max_attempts=2)
def once(ctx: BlockingContext, connection: Connection) -> int:
    return run(ctx)

@job("with-a-model", max_attempts=2)
def with_a_model(ctx: BlockingContext, model: Model, connection: Connection) -> int:
    return run(ctx)

@job("kept", max_attempts=2, keep_process=True)
def kept(ctx: BlockingContext, connection: Connection) -> int:
    return run(ctx)
'''

_ALL = ("set-up", "handler", "after a checkpoint", "clean-up")
PHASES = {"once": _ALL, "with-a-model": _ALL, "kept": _ALL[:3]}  # the last cleans up when the server stops


class Scene:
    """A server, a job, and the process that has come to the phase in question."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.family = {server.process.pid}

    @property
    def diary(self) -> list[str]:
        return (self.folder / "diary").read_text("utf-8").splitlines()

    def reached(self) -> int:
        """The process id of the one that has come to the phase, once it has."""
        pid = eventually(lambda: (self.folder / "reached").exists() and (self.folder / "reached").read_text())
        self.family.update(descendants(self.server.process.pid))
        return int(pid)

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        if pid == self.server.process.pid:
            self.server.process.wait()
            eventually(lambda: not any(map(alive, self.family)))
            self.server.restart()
            self.family.add(self.server.process.pid)

    def end(self) -> None:
        """No process is left, of those that were there when something was killed or are there now."""
        self.family.update(descendants(self.server.process.pid))
        self.server.stop()
        eventually(lambda: not any(map(alive, self.family)))


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def child(_server: int, reached: int) -> int:
    return reached


def nursery(_server: int, reached: int) -> int:
    return parent(reached)


def keeper(_server: int, reached: int) -> int:
    return parent(parent(reached))


def server_itself(server: int, _reached: int) -> int:
    return server


def spare(_server: int, reached: int) -> int:
    """A child that waits: a sibling of the one that runs the attempt."""
    siblings = Path(f"/proc/{parent(reached)}/task/{parent(reached)}/children").read_text().split()
    return next(int(pid) for pid in siblings if int(pid) != reached)


@pytest.fixture
def scene(serving: Serving, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Scene]:
    def begin(phase: str) -> Scene:
        jobs = tmp_path / "phased_jobs.py"
        jobs.write_text(JOBS, "utf-8")
        return Scene(
            serving(tmp_path / "data", "--jobs", str(jobs), env={"FOLDER": str(tmp_path), "PHASE": phase}), tmp_path
        )

    return begin


@pytest.mark.parametrize(
    ("job_type", "phase"), [(job_type, phase) for job_type, phases in PHASES.items() for phase in phases]
)
@pytest.mark.parametrize("target", [child, nursery, server_itself], ids=lambda target: target.__name__)
def test_a_job_survives_a_kill(
    scene: Callable[[str], Scene], job_type: str, phase: str, target: Callable[[int, int], int]
) -> None:
    there = scene(phase)
    job_id = there.server.submit(job_type)
    there.kill(target(there.server.process.pid, there.reached()))
    job = there.server.wait_for(job_id)
    assert job["status"] == "completed", (job["error"], there.diary)
    attempts = 1 if phase == "clean-up" and target is not server_itself else 2  # the handler had ended
    assert job["result"] == job["attempt"] == attempts
    begun = range(2 if phase == "set-up" else 1, attempts + 1)
    assert [entry for entry in there.diary if entry.startswith("begins")] == [f"begins {number}" for number in begun]
    assert there.diary[-1] == f"ends {attempts}"
    there.end()


@pytest.mark.parametrize("target", [keeper, spare], ids=lambda target: target.__name__)
@pytest.mark.parametrize("phase", ["set-up", "handler"])
def test_an_attempt_does_not_notice_that_another_process_is_killed(
    scene: Callable[[str], Scene], phase: str, target: Callable[[int, int], int]
) -> None:
    there = scene(phase)
    job_id = there.server.submit("once")
    pid = there.reached()
    killed = target(there.server.process.pid, pid)
    there.kill(killed)
    eventually(lambda: not alive(killed))
    assert alive(pid)
    assert there.server.job(job_id)["status"] == "running"
    there.kill(pid)
    assert there.server.wait_for(job_id)["attempt"] == 2
    there.end()


def test_a_kill_while_something_is_loaded_before_forking_is_followed_by_another_load(
    scene: Callable[[str], Scene],
) -> None:
    there = scene("load before forking")
    loading = there.reached()
    there.kill(loading)
    job = there.server.wait_for(there.server.submit("with-a-model"))
    assert job["status"] == "completed"
    there.end()
