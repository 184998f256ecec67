"""Children forked from the nursery: what is killed at any moment, what is left behind, what must not be forked."""

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from headway.ports.files import Directories
from headway.running.calling import Lost, Raised, Returned
from headway.running.processes.conversation import Conversation
from headway.running.processes.forked import keeping
from headway.running.processes.forked.children import ForkedChild
from headway.running.processes.forked.forking import Forking
from headway.running.processes.forked.keeper import UnfitModuleError
from headway.running.processes.messages import CheckpointOutcome, Start
from headway.running.processes.nursery import forks
from headway.running.processes.nursery.keeper import BOOT
from headway.running.processes.partner import Partner, Partners
from headway.running.processes.processes import Processes
from structlog.testing import capture_logs

from tests.support.process import WAIT_TIMEOUT_S, alive, descendants, eventually, held_up

JOBS = '''
import os, subprocess, sys, time
from headway import BlockingContext, job

WRITTEN = "as it was loaded"
DAEMON = "import os, time; os.setsid(); print(os.getpid(), flush=True); os.close(1); time.sleep(600)"

@job("says")
def says(ctx: BlockingContext) -> str:
    return WRITTEN

@job("whose-child")
def whose_child(ctx: BlockingContext) -> int:
    return os.getppid()

@job("sleeps")
def sleeps(ctx: BlockingContext) -> None:
    ctx.log(f"pid {os.getpid()}")
    time.sleep(600)

def daemon() -> int:
    """A process that is nobody's child: the one that started it has ended."""
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {DAEMON!r}])"
    return int(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True).stdout)

@job("leaves-a-daemon")
def leaves_a_daemon(ctx: BlockingContext) -> int:
    return daemon()

@job("keeps-a-daemon")
def keeps_a_daemon(ctx: BlockingContext) -> None:
    ctx.log(f"pid {daemon()}")
    time.sleep(600)

@job("keeps-a-child")
def keeps_a_child(ctx: BlockingContext) -> None:
    if (pid := os.fork()) == 0:
        time.sleep(600)
    ctx.log(f"pid {pid}")
    time.sleep(600)

@job("leaves-its-channel")
def leaves_its_channel(ctx: BlockingContext) -> int:
    if (pid := os.fork()) == 0:
        os.setsid()
        time.sleep(600)
    return pid

@job("kills-the-nursery")
def kills_the_nursery(ctx: BlockingContext) -> None:
    os.kill(os.getppid(), 9)
    time.sleep(600)
'''


class Lines:
    """What a handler logs; `number` is that in the first line."""

    def __init__(self) -> None:
        self.first: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.pids_left: set[int] = set()

    def began(self) -> None: ...

    def progress(self, values: tuple[Any, ...]) -> None: ...

    def log(self, line: Any) -> None:
        if not self.first.done():
            self.first.set_result(line.message)

    def dropped(self, lines: int) -> None: ...

    def used(self, usage: Any) -> None: ...

    def left(self, pids: Collection[int]) -> None:
        self.pids_left.update(pids)

    async def number(self) -> int:
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            return int((await self.first).split()[-1])


class Nursery:
    """Runs attempts of the types in a module, in children of a nursery."""

    def __init__(self, folder: Path, module: Path, processes: Processes) -> None:
        self.folder = folder
        self.module = module
        self.processes = processes

    def attempt(self, job_type: str, lines: Lines | None = None, processes: Partners | None = None) -> Any:
        """An attempt as a task; its result is how it ended."""
        start = Start(
            source=str(self.module),
            type=job_type,
            job_id=job_type,
            attempt=1,
            owner="local",
            input_json="{}",
            checkpoint_json=None,
            directories=Directories(str(self.folder), str(self.folder), str(self.folder)),
            lock_path=str(self.folder / f"{job_type}.lock"),
            uploads={},
        )
        conversation = Conversation(start, lines or Lines(), _not_stored, processes or self.processes)
        return asyncio.create_task(_in_time(conversation.run()))

    async def number(self, job_type: str) -> int:
        """The number that a handler returns."""
        end = await self.attempt(job_type)
        assert isinstance(end, Returned), end
        return int(end.result_json)

    async def pid(self) -> int:
        """The nursery's process id."""
        return await self.number("whose-child")


async def _in_time(running: Any) -> Any:
    async with asyncio.timeout(WAIT_TIMEOUT_S):
        return await running


async def _not_stored(_checkpoint_json: str) -> CheckpointOutcome:
    return CheckpointOutcome.FAILED


@pytest.fixture
async def nursery(tmp_path: Path) -> AsyncIterator[Nursery]:
    module = tmp_path / "jobs_of_the_nursery.py"
    module.write_text(JOBS, "utf-8")
    processes = Processes([str(module)], spares=2)
    await processes.open()
    yield Nursery(tmp_path, module, processes)
    await processes.close()


async def gone(*pids: int) -> None:
    await asyncio.to_thread(eventually, lambda: not any(alive(pid) for pid in pids))


# What was loaded is what runs


@pytest.mark.parametrize(
    "change",
    [Path.unlink, lambda path: path.write_text("no Python"), lambda path: path.write_text("WRITTEN = 'edited'")],
    ids=["deleted", "broken", "edited"],
)
async def test_a_change_of_the_modules_file_changes_nothing(nursery: Nursery, change: Callable[[Path], Any]) -> None:
    assert await nursery.attempt("says") == Returned('"as it was loaded"')
    change(nursery.module)
    assert await nursery.attempt("says") == Returned('"as it was loaded"')
    os.kill(await nursery.pid(), signal.SIGKILL)
    while (end := await nursery.attempt("says")) == Lost():  # a spare child of the killed nursery had taken it
        pass
    assert end == Returned('"as it was loaded"')


async def test_what_a_module_prints_when_it_is_imported_is_printed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    module = tmp_path / "jobs_that_print.py"
    module.write_text(f"print('imported')\n{JOBS}", "utf-8")
    processes = Processes([str(module)], spares=1)
    await processes.open()
    for _ in range(2):
        assert await Nursery(tmp_path, module, processes).attempt("says") == Returned('"as it was loaded"')
    await processes.close()
    assert capfd.readouterr().err.count("imported") == 1


# Killed


async def test_the_attempts_of_a_killed_nursery_are_lost_and_it_is_forked_again(nursery: Nursery) -> None:
    lines = Lines()
    running = nursery.attempt("sleeps", lines)
    child = await lines.number()
    killed = await nursery.pid()
    os.kill(killed, signal.SIGKILL)
    assert await running == Lost()
    assert not alive(child)
    assert await nursery.pid() != killed


async def test_an_attempt_that_kills_the_nursery_is_lost(nursery: Nursery) -> None:
    assert await nursery.attempt("kills-the-nursery") == Lost()
    assert await nursery.attempt("says") == Returned('"as it was loaded"')


async def test_a_spare_that_is_killed_is_replaced(nursery: Nursery) -> None:
    pid = await nursery.pid()
    spares = await asyncio.to_thread(eventually, lambda: len(found := descendants(pid)) == 2 and found)
    for spare in spares:
        os.kill(spare, signal.SIGKILL)
    assert await nursery.attempt("says") == Returned('"as it was loaded"')
    await asyncio.to_thread(eventually, lambda: len(descendants(pid)) == 2)


async def test_a_child_that_waits_gives_way_to_the_server_already(nursery: Nursery) -> None:
    pid = await nursery.pid()
    await asyncio.to_thread(
        eventually, lambda: [os.sched_getscheduler(spare) for spare in descendants(pid)] == [os.SCHED_IDLE] * 2
    )


class KillsTheFirst:
    """Hands out children, of which the first ones have just been killed."""

    def __init__(self, processes: Processes, killed: int) -> None:
        self._processes = processes
        self._left = killed

    async def start(self, source: str, job_type: str) -> Partner:
        partner = await self._processes.start(source, job_type)
        assert isinstance(partner.child, ForkedChild)
        if self._left:
            self._left -= 1
            os.kill(partner.child.pid, signal.SIGKILL)
        return partner

    async def part(self, partner: Partner, job_type: str, *, keep: bool) -> None:
        await self._processes.part(partner, job_type, keep=keep)


async def test_an_attempt_is_given_to_another_child_if_the_first_dies_before_it_begins(nursery: Nursery) -> None:
    end = await nursery.attempt("says", processes=KillsTheFirst(nursery.processes, killed=1))
    assert end == Returned('"as it was loaded"')


async def test_an_attempt_whose_children_all_die_before_they_begin_fails(nursery: Nursery) -> None:
    end = await nursery.attempt("says", processes=KillsTheFirst(nursery.processes, killed=99))
    assert isinstance(end, Raised)
    assert (end.error.type, end.error.detail) == ("process-died", "It ended by signal 9.")


async def test_the_death_of_the_keeper_harms_no_attempt(nursery: Nursery) -> None:
    pid = await nursery.pid()
    os.kill(_parent_of(pid), signal.SIGKILL)
    assert await nursery.pid() == pid
    nursery.module.write_text(JOBS.replace("as it was loaded", "loaded again"), "utf-8")
    spares = descendants(pid)
    os.kill(pid, signal.SIGKILL)
    await gone(pid, *spares)  # now nothing is left that has the module loaded: its file is read again
    assert await nursery.attempt("says") == Returned('"loaded again"')


async def test_a_dead_keeper_that_cannot_be_reaped_does_not_hold_up_the_event_loop(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "END_WITHIN_S", 2 * WAIT_TIMEOUT_S)
    keeper = _parent_of(await nursery.pid())

    def kill_and_hold_up() -> None:
        with held_up(keeper):
            os.kill(keeper, signal.SIGKILL)
            eventually(lambda: logged)

    with capture_logs() as logged:
        await asyncio.to_thread(kill_and_hold_up)
    assert logged[0]["event"] == "the process that keeps the job modules loaded has died"
    await nursery.processes.close()
    assert not await asyncio.to_thread(Path(f"/proc/{keeper}").exists), "it was reaped all the same"


def test_a_forked_keeper_that_cannot_be_reaped_is_waited_for_no_longer_than_asked() -> None:
    pid = os.posix_spawn("/bin/sleep", ["sleep", "600"], {})
    with held_up(pid):
        os.kill(pid, signal.SIGKILL)
        assert not keeping._wait_for(pid, 0.1)
    assert keeping._wait_for(pid, WAIT_TIMEOUT_S)


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_when_the_server_closes_nothing_is_left(tmp_path: Path) -> None:
    module = tmp_path / "jobs_that_are_left.py"
    module.write_text(JOBS, "utf-8")
    processes = Processes([str(module)], spares=2)
    await processes.open()
    pid = await Nursery(tmp_path, module, processes).pid()
    family = [_parent_of(pid), pid, *descendants(pid)]
    await processes.close()
    await gone(*family)


# Left behind


async def test_a_daemon_that_a_handler_leaves_behind_is_killed_with_its_end(nursery: Nursery) -> None:
    assert not alive(await nursery.number("leaves-a-daemon"))


async def test_a_daemon_of_a_running_handler_outlives_the_ends_of_others(nursery: Nursery) -> None:
    lines = Lines()
    running = nursery.attempt("keeps-a-daemon", lines)
    daemon = await lines.number()
    assert not alive(await nursery.number("leaves-a-daemon"))
    assert alive(daemon)
    running.cancel()
    await asyncio.wait({running})
    assert not alive(daemon)


async def test_a_process_that_holds_the_channel_open_does_not_hold_up_the_end(nursery: Nursery) -> None:
    assert not alive(await nursery.number("leaves-its-channel"))


async def test_an_end_waits_for_what_was_left_and_those_of_others_do_not(nursery: Nursery) -> None:
    lines = Lines()
    running = nursery.attempt("keeps-a-child", lines)
    left = await lines.number()
    with held_up(left):
        os.kill(_parent_of(left), signal.SIGKILL)
        await gone(left)
        assert await nursery.attempt("says") == Returned('"as it was loaded"')
        assert not alive(await nursery.number("leaves-a-daemon"))
        assert not running.done()
    assert isinstance(await running, Raised)
    assert not lines.pids_left


async def test_an_end_does_not_wait_for_ever_for_what_the_kernel_holds_up(tmp_path: Path) -> None:
    module = tmp_path / "jobs_that_are_held_up.py"
    module.write_text(f"from headway.running.processes.nursery import ends\nends.DIE_WITHIN_S = 0.1\n{JOBS}", "utf-8")
    processes = Processes([str(module)], spares=1)
    await processes.open()
    nursery, lines = Nursery(tmp_path, module, processes), Lines()
    running = nursery.attempt("keeps-a-child", lines)
    left = await lines.number()
    with held_up(left):
        os.kill(_parent_of(left), signal.SIGKILL)
        assert isinstance(await running, Raised)
        assert lines.pids_left == {left}
        assert await nursery.attempt("says") == Returned('"as it was loaded"')
    await processes.close()


ROOTS = """
from headway.running.processes.nursery import ends
ends.DIE_WITHIN_S = 0.1
kill = os.kill

def kill_unless_roots(pid, number):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        if b"setsid" in file.read():
            raise PermissionError(1, "Operation not permitted")
    kill(pid, number)

os.kill = kill_unless_roots
"""
"""The daemon is like a process of another user, which a handler can start with `sudo`."""


async def test_a_process_of_another_user_that_a_handler_leaves_harms_no_other_attempt(tmp_path: Path) -> None:
    module = tmp_path / "jobs_that_use_sudo.py"
    module.write_text(f"{JOBS}\n{ROOTS}", "utf-8")
    processes = Processes([str(module)], spares=1)
    await processes.open()
    nursery, lines = Nursery(tmp_path, module, processes), Lines()
    running = nursery.attempt("sleeps", Lines())
    end = await nursery.attempt("leaves-a-daemon", lines)
    assert isinstance(end, Returned), end
    (left,) = lines.pids_left
    assert left == int(end.result_json)
    assert await nursery.attempt("says") == Returned('"as it was loaded"')
    assert not running.done()
    await processes.close()  # it does not wait for that process
    assert alive(left)
    os.kill(left, signal.SIGKILL)
    await asyncio.wait({running})


async def test_a_nursery_without_a_free_descriptor_refuses_a_child_and_keeps_the_others(nursery: Nursery) -> None:
    lines = Lines()
    running = nursery.attempt("sleeps", lines)
    child, pid = await lines.number(), await nursery.pid()
    await asyncio.to_thread(eventually, lambda: len(descendants(pid)) == 3 and _sockets_in(pid) == 1)
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (_free_in(pid, 4), limits[1]))  # a channel and a pipe take four
    others = [nursery.attempt("sleeps") for _ in range(3)]
    wait_for = {running, *others}
    ended, left = await asyncio.wait(wait_for, timeout=WAIT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    assert running not in ended
    assert [str(task.exception()) for task in ended] == ["no process could be started: Too many open files"]
    assert alive(child)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert await nursery.pid() == pid
    for task in left:
        task.cancel()
    await asyncio.wait(left)


async def test_many_attempts_leave_no_descriptor_and_no_process(nursery: Nursery) -> None:
    pid = await nursery.pid()
    await _at_rest(nursery, pid)
    before = _open_in(os.getpid()), _open_in(pid)
    for _ in range(15):
        assert (
            await asyncio.gather(*(nursery.attempt("says") for _ in range(5))) == [Returned('"as it was loaded"')] * 5
        )
    await _at_rest(nursery, pid)
    assert (_open_in(os.getpid()), _open_in(pid)) == before


async def _at_rest(nursery: Nursery, pid: int) -> None:
    """Wait until the server has both spare children, and the nursery holds neither end of a channel any more."""
    assert nursery.processes._forking is not None
    children = nursery.processes._forking._general._children
    await asyncio.to_thread(
        eventually, lambda: len(children._ready) == 2 and len(descendants(pid)) == 2 and _sockets_in(pid) == 1
    )


def _sockets_in(pid: int) -> int:
    """The one that is left is the nursery's to the server."""
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found


def _free_in(pid: int, descriptors: int) -> int:
    """The last of so many descriptors that the process would open next."""
    taken = {int(descriptor.name) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}
    return [number for number in range(max(taken) + 1 + descriptors) if number not in taken][descriptors - 1]


def _open_in(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


# What must not be forked

THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), name='busy', daemon=True).start()\n"
SQLITE = """import sqlite3
from pathlib import Path
opened = sqlite3.connect(Path(__file__).with_name("x.db"))
opened.execute("CREATE TABLE IF NOT EXISTS t (a)")
"""
SOCKET = "import socket\nlistening = socket.create_server(('127.0.0.1', 0))\n"
IF_TO_BE_FORKED = "if 'keeper' in str(sys.orig_argv):"
LOOP = "import asyncio\nloop = asyncio.new_event_loop()\n"


@pytest.mark.parametrize(
    ("first_lines", "reason"),
    [
        (THREAD, "it starts threads when it is imported (busy)"),
        (SQLITE, "it opens {folder}/x.db for reading and writing, as SQLite does, when it is imported"),
        (SOCKET, "it opens a socket when it is imported"),
        (LOOP, "it opens an event loop when it is imported"),
        (f"{IF_TO_BE_FORKED} raise ValueError('not here')\n", "it could not be imported again: ValueError: not here"),
        (f"import os\n{IF_TO_BE_FORKED} os._exit(3)\n", "it ended the process that imported it"),
    ],
    ids=["thread", "SQLite", "socket", "event loop", "an error", "an end"],
)
async def test_a_module_that_cannot_be_forked_is_spawned_and_the_log_says_why(
    tmp_path: Path, first_lines: str, reason: str
) -> None:
    fit, unfit = tmp_path / "fit_jobs.py", tmp_path / "unfit_jobs.py"
    fit.write_text(JOBS, "utf-8")
    unfit.write_text(f"import sys\n{first_lines}{JOBS}", "utf-8")
    processes = Processes([str(unfit), str(fit)], spares=1)
    with capture_logs() as logged:
        await processes.open()
        one, other = Nursery(tmp_path, fit, processes), Nursery(tmp_path, unfit, processes)
        for _ in range(2):
            for nursery in (one, other):
                assert await nursery.attempt("says") == Returned('"as it was loaded"')
        assert await one.pid() != os.getpid()
        assert await other.number("whose-child") == os.getpid()  # a new interpreter that the server started
        await processes.close()
    (line,) = [line for line in logged if line["event"] == "the job processes of a module are spawned, not forked"]
    assert (line["module"], line["reason"]) == (str(unfit), reason.format(folder=tmp_path))


async def test_a_module_is_loaded_again_if_the_process_that_imports_it_is_killed_once(tmp_path: Path) -> None:
    module, tried = tmp_path / "jobs.py", tmp_path / "tried"
    killed = f"import os, pathlib, sys\nTRIED = pathlib.Path({str(tried)!r})\n"
    killed += f"{IF_TO_BE_FORKED[:-1]} and not TRIED.exists(): TRIED.touch(); os.kill(os.getpid(), 9)\n"
    module.write_text(killed + JOBS, "utf-8")
    processes = Processes([str(module)], spares=1)
    with capture_logs() as logged:
        await processes.open()
        nursery = Nursery(tmp_path, module, processes)
        assert await nursery.attempt("says") == Returned('"as it was loaded"')
        assert await nursery.number("whose-child") != os.getpid()
        await processes.close()
    assert tried.exists()
    assert [line for line in logged if "spawned" in line["event"]] == []


async def test_a_module_that_is_not_known_is_not_forked() -> None:
    with pytest.raises(UnfitModuleError):
        await Forking([], spares=1).start("unknown", "unknown")


def test_a_child_draws_other_numbers_than_its_siblings(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[bool] = []
    monkeypatch.setitem(sys.modules, "numpy.random", SimpleNamespace(seed=lambda: seeded.append(True)))
    forks._reseed()
    assert seeded == [True]


def test_a_keeper_whose_server_is_gone_before_it_is_ready_ends_in_silence() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        ours.close()
        descriptor = theirs.fileno()
        command = [sys.executable, "-c", BOOT, json.dumps(sys.path), str(descriptor), "[]"]
        ended = subprocess.run(command, pass_fds=[descriptor], capture_output=True, timeout=WAIT_TIMEOUT_S, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
