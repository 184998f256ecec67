"""A cgroup for each child: it is in there before its author's code runs, and nothing of it is left when it has ended.

In a cgroup of version 2 that the tests make for themselves; skipped where they cannot.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from headway.running.bounds.process_tree import ProcessTree
from headway.running.calling import Lost, Returned
from headway.running.cgroups import containment
from headway.running.cgroups.cgroup import Cgroup
from headway.running.processes.processes import Processes

from tests.support.cgroups import delegated, moved_into
from tests.support.children import Bench, Listener, ended
from tests.support.process import alive, eventually

JOBS = '''
import os, signal, subprocess, sys, time
from pathlib import Path
from headway import BlockingContext, job

def cgroup() -> str:
    (line,) = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    return Path(line).name

AT_IMPORT = cgroup()

def daemon(run) -> int:
    """The double fork of daemon(7)."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        os.setsid()
        if (pid := os.fork()) == 0:
            run()
        os.write(writer, str(pid).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return int(os.read(reader, 100))

def sleep():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)

def fork_without_end():
    """No process lives for longer than it takes to start the next."""
    while True:
        if os.fork():
            os._exit(0)

@job("where")
def where(ctx: BlockingContext) -> list[object]:
    return [os.getpid(), AT_IMPORT, cgroup()]

@job("leaves-a-daemon")
def leaves_a_daemon(ctx: BlockingContext) -> int:
    return daemon(sleep)

@job("leaves-an-avalanche")
def leaves_an_avalanche(ctx: BlockingContext) -> int:
    return daemon(fork_without_end)

@job("keeps-a-daemon")
def keeps_a_daemon(ctx: BlockingContext) -> None:
    ctx.log(f"pid {daemon(sleep)}")
    time.sleep(600)

@job("keeper-and-nursery")
def keeper_and_nursery(ctx: BlockingContext) -> list[int]:
    nursery = os.getppid()
    keeper = int(Path(f"/proc/{nursery}/stat").read_text().rpartition(")")[2].split()[1])
    return [keeper, nursery]
'''


@pytest.fixture
def cgroup() -> Iterator[Path]:
    with delegated() as path:
        yield path


@pytest.fixture(params=["forked", "spawned"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path, cgroup: Path) -> AsyncIterator[Bench]:
    module = tmp_path / "jobs_in_cgroups.py"
    module.write_text(JOBS, "utf-8")
    processes = Processes([str(module)] if request.param == "forked" else [], spares=1, cgroups=cgroup)
    await processes.open()
    yield Bench(tmp_path, module, processes)
    await processes.close()


forked = pytest.mark.parametrize("bench", ["forked"], indirect=True)


async def returned(bench: Bench, job_type: str, **fields: Any) -> Any:
    end = await bench.run(job_type, **fields)
    assert isinstance(end, Returned), end
    return json.loads(end.result_json)


async def test_a_child_has_a_cgroup_that_is_gone_when_it_has_ended(bench: Bench, cgroup: Path) -> None:
    pid, _, name = await returned(bench, "where")
    assert name == str(pid)
    assert not (cgroup / name).exists()


@pytest.mark.parametrize("bench", ["spawned"], indirect=True)
async def test_a_new_interpreter_is_in_its_cgroup_before_it_imports_the_job(bench: Bench) -> None:
    pid, at_import, _ = await returned(bench, "where")
    assert at_import == str(pid)


async def test_a_daemon_ends_with_its_attempt(bench: Bench) -> None:
    assert not alive(await returned(bench, "leaves-a-daemon"))


async def test_a_daemon_is_killed_with_its_attempt(bench: Bench) -> None:
    attempt = bench.conversation("keeps-a-daemon")
    running = asyncio.create_task(attempt.run())
    daemon = await bench.listener.pid()
    attempt.kill()
    await ended(running)
    assert not alive(daemon)


async def test_processes_that_fork_without_end_end_with_their_attempt(bench: Bench, cgroup: Path) -> None:
    await returned(bench, "leaves-an-avalanche")
    assert all(processes in ([], [int(name)]) for name, processes in members(cgroup).items())


def members(cgroup: Path) -> dict[str, list[int]]:
    """The processes in the cgroups of children, which are named after these. A spare child is alone in its own."""
    return {entry.name: Cgroup(entry).processes() for entry in cgroup.iterdir() if entry.is_dir()}


@forked
async def test_an_attempt_leaves_no_daemon_though_all_that_could_adopt_it_are_killed(bench: Bench) -> None:
    listener = Listener()
    running = asyncio.create_task(bench.conversation("keeps-a-daemon", listener=listener).run())
    daemon = await listener.pid()
    for pid in await returned(bench, "keeper-and-nursery", lock_path=str(bench.folder / "another")):
        os.kill(pid, signal.SIGKILL)
    assert await ended(running) == Lost()
    await asyncio.to_thread(eventually, lambda: not alive(daemon))


# What is used in it

HUNGRY = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for its children: their time is lost
print(flush=True)
os.read(0, 1)
if os.fork() == 0:
    while time.process_time() < 0.3:
        pass
    os._exit(0)
try:
    os.wait()
except ChildProcessError:
    pass  # it has ended
if os.fork() == 0:
    if os.fork() == 0:
        print(flush=True)
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""


def test_daemons_and_the_time_of_lost_children_are_counted_in_the_cgroup(cgroup: Path) -> None:
    command = moved_into(cgroup, [sys.executable, "-ISc", HUNGRY])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as hungry:
        assert hungry.stdin is not None
        assert hungry.stdout is not None
        hungry.stdout.readline()
        try:
            with_cgroup, without = ProcessTree(hungry.pid, Cgroup(cgroup)), ProcessTree(hungry.pid)
            hungry.stdin.write(b"x")
            hungry.stdout.readline()
            eventually(lambda: without.processes(without.read()) == 1)  # the daemon's parent has ended
            assert with_cgroup.processes(with_cgroup.read()) == 2
            assert without.cpu_s(without.read()) < 0.3 <= with_cgroup.cpu_s(with_cgroup.read())
        finally:
            Cgroup(cgroup).kill()


# The server's cgroup

FIND = "from headway.running.cgroups.delegation import delegated_cgroup; print(delegated_cgroup())"


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "not marked"])
@pytest.mark.skipif(os.geteuid() != 0, reason="what belongs to another user than root is delegated to them")
def test_roots_cgroup_is_delegated_if_it_is_marked_so(marked: bool) -> None:
    with delegated(marked=marked) as path:
        command = moved_into(path, [sys.executable, "-c", FIND])
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        assert found == (str(path) if marked else "None")


def test_what_a_dead_server_has_left_is_swept_and_nothing_of_a_living_one(cgroup: Path) -> None:
    path, lock = containment._locked_directory(cgroup)
    Cgroup(path).path.joinpath("7").mkdir()
    with subprocess.Popen(moved_into(path / "7", ["sleep", "600"])) as left:
        eventually(lambda: Cgroup(path / "7").processes() == [left.pid])
        containment.sweep(cgroup)
        assert left.poll() is None
        os.close(lock)
        containment.sweep(cgroup)
        assert left.wait() == -signal.SIGKILL
    assert not path.exists()


def test_a_server_that_ends_kills_and_removes_what_is_left(cgroup: Path) -> None:
    server = containment.Containment(*containment._locked_directory(cgroup))
    (server.path / "7").mkdir()
    with subprocess.Popen(moved_into(server.path / "7", ["sleep", "600"])) as left:
        eventually(lambda: Cgroup(server.path / "7").processes() == [left.pid])
        server.close()
        assert left.wait() == -signal.SIGKILL
    assert not server.path.exists()
