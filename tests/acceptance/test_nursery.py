"""A real server, its nursery and its job processes, killed at different moments: nothing runs twice or is left."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.process import ROOT, ServerProcess, alive, descendants, eventually
from tests.support.serving import Serving

GATED_JOBS = str(ROOT / "tests" / "job_types" / "gated_jobs.py")
SPARES = 2
TWO_SPARES = {"HEADWAY_MAX_PROCESSES": "2"}
"""As many children wait as may run at once, and that is one where the machine lends its tests one core."""


def nursery_of(server: ServerProcess) -> int:
    """The nursery's process id, once its spare children wait."""
    (keeper,) = _children(server.process.pid)
    (nursery,) = eventually(lambda: _children(keeper))
    eventually(lambda: len(_children(nursery)) >= SPARES)
    return int(nursery)


def _children(pid: int) -> Sequence[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def running(server: ServerProcess, job_type: str) -> tuple[str, int]:
    """A job that runs, and the process id that it reports."""
    job_id = server.submit(job_type)
    for state in server.states(job_id):
        if state["message"]:
            return job_id, int(state["message"].removeprefix("pid "))
    raise AssertionError("the stream ended")


def test_a_job_whose_nursery_is_killed_runs_again_and_never_twice_at_once(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path / "data", "--jobs", GATED_JOBS, env=TWO_SPARES)
    gate, trace = tmp_path / "gate", tmp_path / "trace"
    job_id = server.submit("gated-process", {"gate": str(gate), "trace": str(trace)})
    next(state for state in server.states(job_id) if state["message"])
    killed = nursery_of(server)
    os.kill(killed, signal.SIGKILL)
    next(state for state in server.states(job_id) if state["attempt"] == 2 and state["message"])
    gate.touch()
    job = server.wait_for(job_id)
    assert (job["status"], job["result"], job["maxAttempts"]) == ("completed", 2, 2)
    assert trace.read_text() == f"{job_id} 2\n"
    assert nursery_of(server) != killed
    assert not alive(killed)
    lines = [line["message"] for line in server.request("GET", f"/jobs/{job_id}/logs").json["lines"]]
    assert "the job's process died with the one that it was forked from" in lines


def test_a_killed_nursery_does_not_count_against_the_jobs_attempts_but_it_does_not_go_on_for_ever(
    serving: Serving, tmp_path: Path
) -> None:
    jobs = tmp_path / "hostile_jobs.py"
    jobs.write_text(
        "import os, time\nfrom headway import BlockingContext, job\n"
        "@job('kills-the-nursery')\n"
        "def kills_the_nursery(ctx: BlockingContext) -> None:\n"
        "    os.kill(os.getppid(), 9)\n    time.sleep(600)\n"
    )
    server = serving(":memory:", "--jobs", str(jobs), env={"HEADWAY_MAX_RECOVERIES": "2"})
    job = server.wait_for(server.submit("kills-the-nursery"))
    assert (job["status"], job["error"]["type"], job["attempt"]) == ("failed", "interrupted", 3)
    assert server.wait_for(server.submit("writes-files", {"text": "x"}))["status"] == "completed"


@pytest.mark.parametrize("job_type", [None, "polite-process", "stubborn-process", "with-grandchild"])
@pytest.mark.parametrize("stopped", ["killed", "in order"])
def test_when_the_server_ends_no_process_of_it_is_left(serving: Serving, job_type: str | None, stopped: str) -> None:
    server = serving(env={"HEADWAY_CANCEL_GRACE_S": "0.2", "HEADWAY_SHUTDOWN_GRACE_S": "0.2", **TWO_SPARES})
    nursery_of(server)
    if job_type is not None:
        running(server, job_type)
    family = descendants(server.process.pid)
    assert len(family) >= 2 + SPARES
    server.kill() if stopped == "killed" else server.stop()
    eventually(lambda: not any(alive(pid) for pid in family))


def test_when_the_server_is_killed_while_it_starts_no_process_of_it_is_left(serving: Serving) -> None:
    for _ in range(5):
        server = serving()
        family = descendants(server.process.pid)  # as far as they have come
        server.kill()
        eventually(lambda family=family: not any(alive(pid) for pid in family))


def test_the_processes_can_be_told_apart(serving: Serving) -> None:
    server = serving(env=TWO_SPARES)
    nursery = nursery_of(server)
    _, job = running(server, "polite-process")
    (keeper,) = _children(server.process.pid)
    names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in (keeper, nursery, job)]
    assert names == ["headway-keeper", "headway-nursery", "headway-job"]


def test_processes_can_be_started_without_a_nursery(serving: Serving) -> None:
    server = serving(env={"HEADWAY_PROCESS_START": "spawn"})
    assert descendants(server.process.pid) == []
    assert server.wait_for(server.submit("writes-files", {"text": "x"}))["status"] == "completed"
    assert descendants(server.process.pid) == []


KEPT_JOBS = """
import os, subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from headway import BlockingContext, Depends, job

def connection() -> Iterator[int]:
    helper = subprocess.Popen(["sleep", "600"])
    yield helper.pid
    helper.kill()
    helper.wait()
    Path(os.environ["DIARY"]).write_text("cleaned up")

@job("kept", keep_process=True)
def kept(ctx: BlockingContext, connection: Annotated[int, Depends(connection)]) -> list[int]:
    return [os.getpid(), connection]
"""


STOPPING_JOBS = """
import os, time
from pathlib import Path
from headway import BlockingContext, job

@job("waits", keep_process=True)
def waits(ctx: BlockingContext) -> int:
    ctx.progress(message=f"pid {os.getpid()}")
    while not Path(os.environ["GATE"]).exists():
        time.sleep(0.005)
    return os.getpid()

@job("once", max_attempts=1)
def once(ctx: BlockingContext) -> int:
    return os.getpid()
"""


def test_a_job_whose_process_was_stopped_before_it_began_runs_in_another_one(serving: Serving, tmp_path: Path) -> None:
    jobs, env = tmp_path / "stopping_jobs.py", {"GATE": str(tmp_path / "gate"), "HEADWAY_MAX_PROCESSES": "4"}
    jobs.write_text(STOPPING_JOBS)
    server = serving(":memory:", "--jobs", str(jobs), env=env)
    waiting = [running(server, "waits") for _ in range(4)]
    (tmp_path / "gate").touch()
    stopped = {server.wait_for(job_id)["result"] for job_id, _ in waiting}  # more than an attempt has starts
    assert len(stopped) == 4
    stopped.update(children := _children(nursery_of(server)))
    assert len(children) >= 4 + SPARES
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    ended = [server.wait_for(server.submit(job_type)) for job_type in ("waits", "once")]
    assert [job["status"] for job in ended] == ["completed", "completed"]
    assert stopped.isdisjoint(job["result"] for job in ended)


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("stopped", ["killed", "in order"])
def test_a_process_that_is_kept_ends_with_its_server(
    serving: Serving, tmp_path: Path, start: str, stopped: str
) -> None:
    jobs, diary = tmp_path / "kept_jobs.py", tmp_path / "diary"
    jobs.write_text(KEPT_JOBS, "utf-8")
    server = serving(":memory:", "--jobs", str(jobs), env={"HEADWAY_PROCESS_START": start, "DIARY": str(diary)})
    first, second = (server.wait_for(server.submit("kept"))["result"] for _ in range(2))
    assert first == second
    assert all(map(alive, first))
    server.kill() if stopped == "killed" else server.stop()
    eventually(lambda: not any(map(alive, first)))
    assert diary.exists() or stopped == "killed"


MODEL_JOBS = """
import os, time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from headway import BlockingContext, Depends, job

def note(entry: str) -> None:
    with open(os.environ["DIARY"], "a") as diary:
        diary.write(f"{entry}\\n")

def model() -> Iterator[dict[int, int]]:
    note("load")
    if not os.path.exists(os.environ["GO"]):
        raise OSError("not yet")
    yield {n: n * n for n in range(10_000)}
    note("cleaned up")

@job("with-a-model", max_attempts=2)
def with_a_model(ctx: BlockingContext, model: Annotated[dict[int, int], Depends(model, before_fork=True)]) -> int:
    Path(os.environ["GO"]).touch()
    return model[100]
"""


def test_twenty_jobs_share_what_is_loaded_once(serving: Serving, tmp_path: Path) -> None:
    jobs, diary, go = tmp_path / "jobs_with_a_model.py", tmp_path / "diary", tmp_path / "go"
    jobs.write_text(MODEL_JOBS, "utf-8")
    go.touch()
    server = serving(":memory:", "--jobs", str(jobs), env={"DIARY": str(diary), "GO": str(go)})
    (keeper,) = _children(server.process.pid)
    ids = [server.submit("with-a-model") for _ in range(20)]
    assert {server.wait_for(job_id)["result"] for job_id in ids} == {10_000}
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in _children(keeper)}
    assert names == {"headway-nursery", "headway:with-a-"}
    family = descendants(server.process.pid)
    server.stop()
    assert diary.read_text().splitlines() == ["load", "cleaned up"]
    eventually(lambda: not any(map(alive, family)))


@pytest.mark.parametrize("stopped", ["killed", "in order"])
def test_a_load_that_hangs_holds_up_its_own_type_only(serving: Serving, tmp_path: Path, stopped: str) -> None:
    jobs, diary = tmp_path / "jobs_with_a_model.py", tmp_path / "diary"
    hangs = "    while not os.path.exists(os.environ['GO']):\n        time.sleep(0.01)\n"
    jobs.write_text(MODEL_JOBS.replace('    note("load")\n', f'    note("load")\n{hangs}'), "utf-8")
    env = {"DIARY": str(diary), "GO": str(tmp_path / "go"), "HEADWAY_MAX_PROCESSES": "2"}
    server = serving(tmp_path / "data", "--jobs", str(jobs), env=env)
    waiting = [server.submit("with-a-model") for _ in range(3)]
    assert server.wait_for(server.submit("writes-files", {"text": "x"}))["status"] == "completed"
    server.request("DELETE", f"/jobs/{waiting[0]}")
    assert server.wait_for(waiting[0])["status"] == "cancelled"
    eventually(lambda: diary.read_text().splitlines() == ["load"] * 2)  # for the next one that waits
    family = descendants(server.process.pid)
    server.kill() if stopped == "killed" else server.stop()
    eventually(lambda: not any(map(alive, family)))


def test_a_load_that_fails_is_tried_again_with_the_job(serving: Serving, tmp_path: Path) -> None:
    jobs, diary, go = tmp_path / "jobs_with_a_model.py", tmp_path / "diary", tmp_path / "go"
    jobs.write_text(MODEL_JOBS, "utf-8")
    server = serving(":memory:", "--jobs", str(jobs), env={"DIARY": str(diary), "GO": str(go)})
    job_id = server.submit("with-a-model")
    next(state for state in server.states(job_id) if state["attempt"] == 1 and state["status"] == "queued")
    go.touch()
    job = server.wait_for(job_id)
    assert (job["status"], job["attempt"], job["result"]) == ("completed", 2, 10_000)
    lines = server.request("GET", f"/jobs/{job_id}/logs").json["lines"]
    assert "model(): OSError: not yet" in lines[0]["message"]
    assert "in model\n" in server.log()
    loads = [line for line in server.log().splitlines() if "loading before forking" in line]
    assert len(loads) >= 3
    assert not any(job_id in line for line in loads), "a load is for no single job"
