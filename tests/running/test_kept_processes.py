"""Processes that are kept: what stays in them between two attempts, what does not, and when they are replaced."""

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from headway.running.calling import Raised, Returned, Stopped
from headway.running.processes import kept
from headway.running.processes.conversation import Conversation
from headway.running.processes.processes import Processes
from structlog.testing import capture_logs

from tests.support.children import Bench, Listener, ended
from tests.support.process import alive, eventually

JOBS = """
import _thread, ctypes, faulthandler, os, resource, signal, subprocess, sys, threading, time
from collections.abc import Iterator
from typing import Annotated
from pydantic import BaseModel
from headway import BlockingContext, Depends, JobFailed, job

DAEMON = "import os, time; os.setsid(); print(os.getpid(), flush=True); os.close(1); time.sleep(600)"

def note(entry: str) -> None:
    with open(os.environ["DIARY"], "a") as diary:
        diary.write(f"{entry}\\n")

def daemon() -> int:
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {DAEMON!r}])"
    return int(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True).stdout)

def connection() -> Iterator[str]:
    note(f"open {os.getpid()}")
    yield f"connection of {os.getpid()}"
    note(f"close {os.getpid()}")

Connection = Annotated[str, Depends(connection)]

@job("kept", keep_process=True)
def kept(ctx: BlockingContext, connection: Connection) -> str:
    return connection

@job("kept-too", keep_process=True)
def kept_too(ctx: BlockingContext, connection: Connection) -> str:
    return connection

class Text(BaseModel):
    text: str = ""

@job("says", keep_process=True)
def says(ctx: BlockingContext, input: Text) -> int:
    ctx.log(f"says {input.text}")
    print(f"prints {input.text}")
    ctx.progress(1, 2, message=input.text)
    ctx.checkpoint(input.text)
    return os.getpid()

@job("waits", keep_process=True)
def waits(ctx: BlockingContext, connection: Connection) -> str:
    ctx.log(f"pid {os.getpid()}")
    while not os.path.exists(os.environ["GO"]):
        ctx.raise_if_cancelled()
        time.sleep(0.005)
    return connection

@job("three-jobs", keep_process=True, max_jobs_per_process=3)
def three_jobs(ctx: BlockingContext, connection: Connection) -> int:
    return os.getpid()

hoard = []

@job("hoards", keep_process=True, max_mib_per_process=200)
def hoards(ctx: BlockingContext, connection: Connection) -> int:
    hoard.append(bytearray(os.urandom(1)) * (80 * 1024 * 1024))
    return os.getpid()

@job("leaves-processes", keep_process=True)
def leaves_processes(ctx: BlockingContext) -> list[int]:
    left = [subprocess.Popen(["sleep", "600"]).pid, daemon()]
    forked = os.fork()
    if not forked:
        time.sleep(600)
    return [os.getpid(), *left, forked]

def helper() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    note(f"helper {process.poll()}")
    process.kill()
    process.wait()

@job("has-a-helper", keep_process=True)
def has_a_helper(ctx: BlockingContext, helper: Annotated[int, Depends(helper)]) -> list[int]:
    os.kill(helper, 0)
    return [os.getpid(), helper, subprocess.Popen(["sleep", "600"]).pid]

@job("leaves-a-thread", keep_process=True)
def leaves_a_thread(ctx: BlockingContext, connection: Connection) -> int:
    threading.Thread(target=time.sleep, args=(600,), name="a-straggler", daemon=True).start()
    return os.getpid()

@job("leaves-a-nameless-thread", keep_process=True)
def leaves_a_nameless_thread(ctx: BlockingContext, connection: Connection) -> int:
    _thread.start_new_thread(time.sleep, (600,))
    return os.getpid()

@job("leaves-a-timer", keep_process=True)
def leaves_a_timer(ctx: BlockingContext, connection: Connection) -> int:
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.alarm(600)
    return os.getpid()

libc = ctypes.CDLL(None, use_errno=True)

@job("leaves-a-posix-timer", keep_process=True)
def leaves_a_posix_timer(ctx: BlockingContext, connection: Connection) -> int:
    assert libc.timer_create(time.CLOCK_MONOTONIC, None, ctypes.byref(ctypes.c_void_p())) == 0
    return os.getpid()

@job("leaves-a-blocked-signal", keep_process=True)
def leaves_a_blocked_signal(ctx: BlockingContext, connection: Connection) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    return os.getpid()

@job("leaves-a-final-limit", keep_process=True)
def leaves_a_final_limit(ctx: BlockingContext, connection: Connection) -> int:
    header, capabilities = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, capabilities) == 0
    capabilities[0] &= ~(1 << 24)  # CAP_SYS_RESOURCE, which may raise limits
    assert libc.capset(header, capabilities) == 0
    resource.setrlimit(resource.RLIMIT_MSGQUEUE, (1, 1))
    return os.getpid()

def state() -> list[object]:
    umask = os.umask(0)
    os.umask(umask)
    limits = [resource.getrlimit(each) for each in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE)]
    handlers = [str(signal.getsignal(each)) for each in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGUSR1)]
    return [os.getpid(), umask, limits, handlers, os.getcwd()]

def own_state() -> None:
    os.chdir(os.path.dirname(os.environ["DIARY"]))
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

@job("changes-its-process", keep_process=True)
def changes_its_process(ctx: BlockingContext, it: Annotated[None, Depends(own_state)]) -> list[object]:
    found = state()
    os.umask(0o777)
    os.chdir("/")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    for limit, least in ((resource.RLIMIT_NOFILE, 100), (resource.RLIMIT_AS, 1)):
        resource.setrlimit(limit, (least, resource.getrlimit(limit)[1]))
    return found

class Threads(BaseModel):
    threads: int | None = None

@job("wants-a-traceback", keep_process=True)
def wants_a_traceback(ctx: BlockingContext, input: Threads) -> list[int]:
    while input.threads is not None and len(os.listdir("/proc/self/task")) > input.threads:
        time.sleep(0.005)
    threads = len(os.listdir("/proc/self/task"))
    faulthandler.dump_traceback_later(600, exit=True)
    return [os.getpid(), threads]

@job("ends-its-threads", keep_process=True)
def ends_its_threads(ctx: BlockingContext) -> int:
    for _ in range(50):
        _thread.start_new_thread(int, ())
    threads = [threading.Thread(target=int) for _ in range(50)]
    for thread in threads:
        thread.start()
    signal.setitimer(signal.ITIMER_REAL, 600)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return os.getpid()

def ticker() -> threading.Thread:
    thread = threading.Thread(target=time.sleep, args=(600,), daemon=True)
    thread.start()
    return thread

@job("has-a-thread", keep_process=True)
def has_a_thread(ctx: BlockingContext, ticker: Annotated[threading.Thread, Depends(ticker)]) -> int:
    return os.getpid()

@job("forks", keep_process=True)
def forks(ctx: BlockingContext, connection: Connection) -> int:
    if os.fork():
        os.wait()
    return os.getpid()

@job("fails", keep_process=True)
def fails(ctx: BlockingContext, connection: Connection) -> None:
    raise ValueError(connection)

@job("crashes", keep_process=True)
def crashes(ctx: BlockingContext, connection: Connection) -> None:
    os.kill(os.getpid(), signal.SIGKILL)

count = 0

@job("crashes-later", keep_process=True)
def crashes_later(ctx: BlockingContext) -> int:
    global count
    count += 1
    if count == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return count

def broken_once() -> str:
    if not os.path.exists(os.environ["GO"]):
        raise ConnectionError("no route")
    return "route"

@job("cannot-begin", keep_process=True)
def cannot_begin(ctx: BlockingContext, connection: Connection, route: Annotated[str, Depends(broken_once)]) -> str:
    return connection

def fails_at_the_end() -> Iterator[None]:
    yield
    raise OSError("the disk is full")

@job("fails-in-clean-up", keep_process=True)
def fails_in_clean_up(ctx: BlockingContext, it: Annotated[None, Depends(fails_at_the_end)]) -> None: ...

def hangs_at_the_end() -> Iterator[None]:
    yield
    time.sleep(600)

@job("hangs-in-clean-up", keep_process=True)
def hangs_in_clean_up(ctx: BlockingContext, it: Annotated[None, Depends(hangs_at_the_end)]) -> int:
    return os.getpid()

@job("descriptors", keep_process=True)
def descriptors(ctx: BlockingContext) -> int:
    ctx.log("a line")
    return len(os.listdir("/proc/self/fd"))

@job("whose-child", keep_process=True)
def whose_child(ctx: BlockingContext) -> list[int]:
    return [os.getpid(), os.getppid()]
"""


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="system calls of Linux")


class Kept(Bench):
    """Runs attempts of kept types."""

    def __init__(self, folder: Path, module: Path, processes: Processes) -> None:
        super().__init__(folder, module, processes)
        self.close = processes.close

    def start(self, job_type: str, listener: Listener) -> "asyncio.Task[Any]":
        """An attempt of a job of its own."""
        lock_path = str(self.folder / f"lock {id(listener)}")
        return asyncio.create_task(self.conversation(job_type, listener=listener, lock_path=lock_path).run())

    async def returns(self, job_type: str, input_json: str = "{}") -> Any:
        """What a handler returns."""
        end = await self.run(job_type, input_json)
        assert isinstance(end, Returned), end
        return json.loads(end.result_json)

    def diary(self) -> list[str]:
        with suppress(FileNotFoundError):
            return (self.folder / "diary").read_text("utf-8").splitlines()
        return []

    def go(self) -> None:
        (self.folder / "go").touch()

    async def until(self, condition: Any) -> None:
        await asyncio.to_thread(eventually, condition)


class CancelledTooLate(Listener):
    """Its attempt is cancelled, and the handler ends before it hears of that."""

    conversation: Conversation

    def began(self) -> None:
        self.conversation._cancelled = True


@pytest.fixture(params=["forked", "spawned"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    module = tmp_path / "jobs_that_are_kept.py"
    module.write_text(JOBS, "utf-8")
    monkeypatch.setenv("DIARY", str(tmp_path / "diary"))
    monkeypatch.setenv("GO", str(tmp_path / "go"))
    processes = Processes([str(module)] if request.param == "forked" else [], spares=1)
    await processes.open()
    yield Kept(tmp_path, module, processes)
    await processes.close()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


# What stays


async def test_jobs_of_a_type_run_one_after_the_other_in_a_process_with_its_dependencies(bench: Kept) -> None:
    first = await bench.returns("kept")
    assert [await bench.returns("kept") for _ in range(3)] == [first] * 3
    assert await bench.returns("kept-too") != first, "another type has its own"
    assert len(bench.diary()) == 2, "each process has set up once, and cleaned up nothing"


async def test_two_jobs_at_once_have_two_processes_and_both_are_kept(bench: Kept) -> None:
    listeners = [Listener(), Listener()]
    running = [bench.start("waits", listener) for listener in listeners]
    pids = {await listener.pid() for listener in listeners}
    assert len(pids) == 2
    bench.go()
    for task in running:
        assert isinstance(await ended(task), Returned)
    again = [bench.start("waits", Listener()) for _ in range(2)]
    first, second = (Returned(f'"connection of {pid}"') for pid in pids)
    expected = [[first, second], [second, first]]
    assert [await ended(task) for task in again] in expected
    assert len(bench.diary()) == 2


async def test_each_attempt_has_a_log_a_progress_and_checkpoints_of_its_own(bench: Kept) -> None:
    pids = set()
    for text in ("one", "two", "three"):
        listener = Listener()
        end = await ended(bench.conversation("says", f'{{"text": "{text}"}}', listener).run())
        assert isinstance(end, Returned), end
        pids.add(end.result_json)
        assert listener.begun == 1
        assert listener.lines == [f"says {text}", f"prints {text}"]
        assert listener.values[-1][4] == text
        assert bench.checkpoints.pop() == f'"{text}"'
    assert len(pids) == 1


async def test_a_failure_of_the_handler_leaves_the_process_as_it_is(bench: Kept) -> None:
    first = await bench.run("fails")
    assert isinstance(first, Raised)
    again = await bench.run("fails")
    assert again.error.detail == first.error.detail
    assert len(bench.diary()) == 1


async def test_what_a_set_up_has_started_stays_and_what_a_handler_has_started_is_killed(bench: Kept) -> None:
    pid, helper, left = await bench.returns("has-a-helper")
    assert alive(helper)
    assert not alive(left)
    assert (await bench.returns("has-a-helper"))[:2] == [pid, helper]
    await bench.close()
    assert bench.diary() == ["helper None"], "it lived until the clean-up"
    assert not alive(helper)


async def test_a_thread_of_a_set_up_stays(bench: Kept) -> None:
    assert await bench.returns("has-a-thread") == await bench.returns("has-a-thread")


async def test_the_job_is_locked_while_its_attempt_runs_and_no_longer(bench: Kept) -> None:
    listener = Listener()
    running = asyncio.create_task(bench.conversation("waits", listener=listener).run())
    await listener.pid()
    with (bench.folder / "lock").open("rb") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    bench.go()
    await ended(running)
    assert not (bench.folder / "lock").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
async def test_attempts_leave_no_descriptor(bench: Kept) -> None:
    assert len({await bench.returns("descriptors") for _ in range(20)}) == 1


async def test_a_process_that_a_handler_forks_cleans_up_nothing_when_it_comes_out_of_it(bench: Kept) -> None:
    pid = await bench.returns("forks")
    assert bench.diary() == [f"open {pid}"]
    assert await bench.returns("forks") == pid


# What does not


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody can tell whose process it was")
async def test_what_an_attempt_has_started_is_gone_when_it_has_ended(bench: Kept) -> None:
    pid, *left = await bench.returns("leaves-processes")
    assert len(left) == 3
    assert not any(map(alive, left))
    again, *left = await bench.returns("leaves-processes")
    assert again == pid
    assert not any(map(alive, left))


@pytest.mark.parametrize(
    ("job_type", "why"),
    [
        ("leaves-a-thread", "it has left threads running: a-straggler"),
        ("leaves-a-nameless-thread", "it has left threads running: one without a name"),
        ("leaves-a-timer", "it has left a timer running, whose signal would come in the next job"),
        pytest.param(
            "leaves-a-posix-timer",
            "it has left a timer running, whose signal would come in the next job",
            marks=ON_LINUX,
        ),
        ("leaves-a-blocked-signal", "it has left signals blocked: SIGTERM"),
        pytest.param(
            "leaves-a-final-limit",
            "it has left a limit that cannot be raised again: RLIMIT_MSGQUEUE",
            marks=ON_LINUX,
        ),
    ],
)
async def test_a_process_in_which_something_was_left_that_could_harm_the_next_job_is_replaced(
    bench: Kept, job_type: str, why: str
) -> None:
    pid = await bench.returns(job_type)
    assert bench.listener.lines == [f"the process is replaced: {why}"]
    assert bench.diary() == [f"open {pid}", f"close {pid}"]
    assert await bench.returns(job_type) != pid


async def test_what_a_handler_changes_in_its_process_is_put_back(bench: Kept) -> None:
    first = await bench.returns("changes-its-process")
    assert first[-1] == str(bench.folder), "what a dependency has changed stays"
    assert [await bench.returns("changes-its-process") for _ in range(3)] == [first] * 3
    assert bench.listener.lines == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
async def test_a_traceback_that_a_handler_has_asked_for_does_not_end_the_next_one(bench: Kept) -> None:
    first = await bench.returns("wants-a-traceback")
    assert await bench.returns("wants-a-traceback", f'{{"threads": {first[1]}}}') == first


async def test_threads_and_timers_that_have_ended_do_not_replace_the_process(bench: Kept) -> None:
    assert len({await bench.returns("ends-its-threads") for _ in range(5)}) == 1


async def test_a_process_is_replaced_after_as_many_jobs_as_its_type_says(bench: Kept) -> None:
    pids = [await bench.returns("three-jobs") for _ in range(4)]
    assert pids[:3] == [pids[0]] * 3
    assert pids[3] != pids[0]
    assert bench.diary() == [f"open {pids[0]}", f"close {pids[0]}", f"open {pids[3]}"]
    assert bench.listener.lines == []


async def test_a_process_is_replaced_after_a_job_that_leaves_it_with_too_much_memory(bench: Kept) -> None:
    pids = [await bench.returns("hoards") for _ in range(4)]
    assert pids[:3] == [pids[0]] * 3
    assert pids[3] != pids[0]
    assert bench.diary()[:2] == [f"open {pids[0]}", f"close {pids[0]}"]
    (line,) = bench.listener.lines
    assert line.startswith("the process is replaced: it has ")
    assert line.endswith(" MiB of memory of its own, more than 200")


async def test_memory_that_a_process_shares_does_not_count(tmp_path: Path) -> None:
    module = tmp_path / "jobs_with_a_table.py"
    module.write_text(
        "import os\nfrom headway import BlockingContext, job\n"
        "TABLE = b'x' * (300 << 20)\n"
        "@job('shares', keep_process=True, max_mib_per_process=200)\n"
        "def shares(ctx: BlockingContext) -> int:\n"
        "    return os.getpid() if TABLE.count(b'y') == 0 else 0\n"
    )
    processes = Processes([str(module)], spares=1)
    await processes.open()
    bench = Kept(tmp_path, module, processes)
    assert await bench.returns("shares") == await bench.returns("shares")
    await bench.close()


async def test_a_process_whose_job_was_cancelled_is_replaced_and_cleans_up(bench: Kept) -> None:
    listener = Listener()
    conversation = bench.conversation("waits", listener=listener)
    task = asyncio.create_task(conversation.run())
    pid = await listener.pid()
    conversation.cancel()
    assert await ended(task) == Stopped()
    assert bench.diary() == [f"open {pid}", f"close {pid}"]
    assert not alive(pid)
    bench.go()
    assert await bench.returns("waits") != f"connection of {pid}"


async def test_a_process_whose_job_was_cancelled_too_late_is_replaced_too(bench: Kept) -> None:
    listener = CancelledTooLate()
    listener.conversation = bench.conversation("says", listener=listener)
    end = await ended(listener.conversation.run())
    assert isinstance(end, Returned)
    assert await bench.returns("says") != json.loads(end.result_json)


async def test_a_process_that_crashes_is_replaced(bench: Kept) -> None:
    end = await bench.run("crashes")
    assert isinstance(end, Raised)
    assert end.error.type == "process-died"
    await bench.run("crashes")
    assert len(bench.diary()) == 2


async def test_a_process_that_crashes_in_a_later_job_is_replaced_without_a_word(bench: Kept, logged: list[Any]) -> None:
    assert await bench.returns("crashes-later") == 1
    end = await bench.run("crashes-later")
    assert isinstance(end, Raised)
    assert await bench.returns("crashes-later") == 1
    assert logged == []


async def test_a_process_whose_set_up_has_failed_is_replaced(bench: Kept) -> None:
    end = await bench.run("cannot-begin")
    assert isinstance(end, Raised)
    assert end.error.detail == "broken_once(): ConnectionError: no route"
    assert [entry.split()[0] for entry in bench.diary()] == ["open", "close"]
    bench.go()
    assert await bench.returns("cannot-begin") == await bench.returns("cannot-begin")


async def test_a_process_that_dies_while_it_waits_is_replaced(bench: Kept, logged: list[Any]) -> None:
    first = await bench.returns("kept")
    os.kill(int(first.split()[-1]), signal.SIGKILL)
    await bench.until(lambda: logged)
    assert [entry["event"] for entry in logged] == ["a process that was kept for the next job has died"]
    assert await bench.returns("kept") != first


@pytest.mark.parametrize("bench", ["forked"], indirect=True)
async def test_processes_that_die_with_their_nursery_while_they_wait_are_replaced(bench: Kept) -> None:
    pid, parent = await bench.returns("whose-child")
    os.kill(parent, signal.SIGKILL)
    await bench.until(lambda: not alive(pid))
    assert (await bench.returns("whose-child"))[0] != pid


# The end


async def test_kept_processes_clean_up_when_the_server_stops(bench: Kept) -> None:
    pids = {(await bench.returns(job_type)).split()[-1] for job_type in ("kept", "kept-too")}
    await bench.close()
    assert {entry for entry in bench.diary() if entry.startswith("close")} == {f"close {pid}" for pid in pids}
    assert not any(alive(int(pid)) for pid in pids)


async def test_a_clean_up_that_fails_is_logged(bench: Kept, logged: list[Any]) -> None:
    await bench.returns("fails-in-clean-up")
    await bench.close()
    (entry,) = logged
    assert (entry["event"], entry["factory"]) == ("cleaning up a dependency failed", "fails_at_the_end()")
    assert "OSError: the disk is full" in entry["traceback"]


async def test_a_clean_up_that_hangs_is_ended(bench: Kept, logged: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "CLEAN_UP_WITHIN_S", 0.5)
    pid = await bench.returns("hangs-in-clean-up")
    await bench.close()
    assert not alive(pid)
    assert [entry["event"] for entry in logged] == ["cleaning up a kept process took too long, and it was killed"]
