"""Dependencies made before a type's processes are forked: what is shared, a load that fails, where there is none."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import pytest
from headway import BlockingContext, Depends, job
from headway.authoring.declaring import declared
from headway.domain.jobs import JobError
from headway.running.calling import Lost, Raised, Returned, Stopped
from headway.running.processes.forked import preloading
from headway.running.processes.forked.preloading import Preload
from headway.running.processes.processes import Processes
from structlog.testing import capture_logs

from tests.support.children import Bench, Listener, ended
from tests.support.process import alive, eventually

JOBS = """
import os, signal, socket, subprocess, threading, time
from collections.abc import Iterator
from typing import Annotated
from headway import BlockingContext, Depends, job

def note(entry: str) -> None:
    with open(os.environ["DIARY"], "a") as diary:
        diary.write(f"{entry}\\n")

def until_allowed() -> None:
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.005)

@job("plain")
def plain(ctx: BlockingContext) -> int:
    return os.getppid()

def config() -> Iterator[str]:
    note("config")
    yield "config"
    note(f"config is closed by {os.getpid()}")

def model(config: Annotated[str, Depends(config)]) -> Iterator[list[str]]:
    note("model")
    print("the model loads")
    yield [config, str(os.getpid())]
    note(f"model is closed by {os.getpid()}")

def session(model: Annotated[list[str], Depends(model, before_fork=True)]) -> Iterator[str]:
    note("session")
    yield model[0]
    note("session is closed")

@job("shares")
def shares(ctx: BlockingContext, session: Annotated[str, Depends(session)], model: Annotated[list[str], Depends(model)],
           config: Annotated[str, Depends(config)]) -> list[int | str]:
    model.append("only in this process")
    return [id(model), *model, session, os.getppid()]

@job("holds")
def holds(ctx: BlockingContext, model: Annotated[list[str], Depends(model, before_fork=True)]) -> None:
    ctx.log(f"pid {os.getpid()}")
    until_allowed()

MIB = 1024 * 1024

def buffer() -> bytearray:
    return bytearray(b"x") * (64 * MIB)

@job("reads")
def reads(ctx: BlockingContext, buffer: Annotated[bytearray, Depends(buffer, before_fork=True)]) -> None:
    assert buffer.count(b"x") == 64 * MIB
    ctx.log(f"pid {os.getpid()}")
    until_allowed()

def flaky(config: Annotated[str, Depends(config)]) -> str:
    note("flaky")
    if not os.path.exists(os.environ["GO"]):
        raise OSError("not yet")
    return "made"

@job("fails-at-first")
def fails_at_first(ctx: BlockingContext, it: Annotated[str, Depends(flaky, before_fork=True)]) -> str:
    return it

def deadly() -> str:
    note("deadly")
    if not os.path.exists(os.environ["GO"]):
        if os.environ["DEADLY"] == "exit":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGSEGV)
    return "made"

@job("dies-at-first")
def dies_at_first(ctx: BlockingContext, it: Annotated[str, Depends(deadly, before_fork=True)]) -> str:
    return it

def slow() -> str:
    note(f"slow {os.getpid()}")
    until_allowed()
    return "made"

@job("waits-for-a-load")
def waits_for_a_load(ctx: BlockingContext, it: Annotated[str, Depends(slow, before_fork=True)]) -> str:
    return it

def harmless() -> Iterator[str]:
    yield "harmless"
    note("harmless is closed")

def threaded(it: Annotated[str, Depends(harmless)]) -> Iterator[int]:
    note("threaded")
    thread = threading.Thread(target=time.sleep, args=(600,), name="busy", daemon=True)
    thread.start()
    yield thread.native_id
    note("threaded is closed")

@job("starts-a-thread")
def starts_a_thread(ctx: BlockingContext, it: Annotated[int, Depends(threaded, before_fork=True)]) -> int:
    return os.getppid()

def connected() -> socket.socket:
    note("connected")
    return socket.create_server(("127.0.0.1", 0))

@job("opens-a-socket")
def opens_a_socket(ctx: BlockingContext, it: Annotated[socket.socket, Depends(connected, before_fork=True)]) -> int:
    return os.getppid()

def helper() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    process.terminate()
    note(f"helper ended: {process.wait()}")

@job("has-a-helper")
def has_a_helper(ctx: BlockingContext, helper: Annotated[int, Depends(helper, before_fork=True)]) -> int:
    os.kill(helper, 0)
    return helper

def fails_at_the_end() -> Iterator[None]:
    yield
    raise OSError("the disk is full")

@job("fails-in-clean-up")
def fails_in_clean_up(ctx: BlockingContext, model: Annotated[list[str], Depends(model, before_fork=True)],
                      it: Annotated[None, Depends(fails_at_the_end, before_fork=True)]) -> None: ...

def hangs_at_the_end() -> Iterator[None]:
    yield
    note("hangs")
    time.sleep(600)

def fails_once(it: Annotated[None, Depends(hangs_at_the_end)]) -> None:
    if not os.path.exists(os.environ["GO"]):
        raise OSError("not yet")

@job("fails-and-hangs")
def fails_and_hangs(ctx: BlockingContext, it: Annotated[None, Depends(fails_once, before_fork=True)]) -> str:
    return "made"

@job("hangs-in-clean-up")
def hangs_in_clean_up(ctx: BlockingContext, it: Annotated[None, Depends(hangs_at_the_end, before_fork=True)]) -> int:
    return os.getppid()
"""


class Sharing(Bench):
    """Starts attempts in children, some of which share what is made before they are forked."""

    def __init__(self, folder: Path, module: Path, processes: Processes) -> None:
        super().__init__(folder, module, processes)
        self.processes: Processes = processes


Opening = Callable[..., Awaitable[Sharing]]


@pytest.fixture
async def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opening]:
    """Opens processes, with a nursery of its own for the type that is given."""
    module = tmp_path / "jobs_that_share.py"
    module.write_text(JOBS, "utf-8")
    monkeypatch.setenv("DIARY", str(tmp_path / "diary"))
    monkeypatch.setenv("GO", str(tmp_path / "go"))
    running: list[Processes] = []

    async def open_for(job_type: str, factory: str = "model()", *, forked: bool = True) -> Sharing:
        preload = Preload(job_type, str(module), (factory,), spares=1)
        processes = Processes([str(module)], 1, None, [preload]) if forked else Processes()
        running.append(processes)
        await processes.open()
        return Sharing(tmp_path, module, processes)

    yield open_for
    for processes in running:
        await processes.close()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


def diary(bench: Bench) -> list[str]:
    with suppress(FileNotFoundError):
        return (bench.folder / "diary").read_text("utf-8").splitlines()
    return []


async def until(condition: Callable[[], object]) -> Any:
    return await asyncio.to_thread(eventually, condition)


async def gone(*pids: int) -> None:
    await until(lambda: not any(alive(pid) for pid in pids))


async def value(bench: Bench, job_type: str, job_id: str = "j") -> Any:
    """What a handler returns."""
    end = await bench.run(job_type, job_id=job_id, lock_path=str(bench.folder / job_id))
    assert isinstance(end, Returned), end
    return json.loads(end.result_json)


async def held(bench: Bench, job_type: str, job_id: str = "j") -> tuple[asyncio.Task[Any], int]:
    """An attempt that runs, and the process id that it logs."""
    listener = bench.listener = Listener()
    running = bench.conversation(job_type, job_id=job_id, lock_path=str(bench.folder / job_id))
    task = asyncio.create_task(running.run())
    return task, await listener.pid()


def events(logged: list[Any]) -> list[str]:
    return [entry["event"] for entry in logged]


# What a type declares


@pytest.mark.parametrize(("concurrency", "spares"), [(None, 2), (1, 1), (8, 2)])
def test_no_more_children_wait_ready_than_may_run(concurrency: int | None, spares: int) -> None:
    def model() -> int:
        return 1

    @job("a-job", concurrency=concurrency)
    def handler(ctx: BlockingContext, model: Annotated[int, Depends(model, before_fork=True)]) -> None: ...

    assert Preload.of(declared("a-job"), 2) == Preload("a-job", __name__, ("model()",), spares)


def test_most_types_load_nothing_before_their_processes_are_forked() -> None:
    @job("a-job")
    def handler(ctx: BlockingContext) -> None: ...

    assert Preload.of(declared("a-job"), 2) is None


# What is shared


async def test_the_processes_of_a_type_share_what_is_loaded_once(opened: Opening, logged: list[Any]) -> None:
    bench = await opened("shares")
    results = await asyncio.gather(*(value(bench, "shares", f"j{n}") for n in range(6)))
    assert results == [results[0]] * 6, "the same object in each of them, and what one does with it is its own"
    (_, config, nursery, only_here, session, parent) = results[0]
    assert (config, only_here, session) == ("config", "only in this process", "config")
    assert int(nursery) == parent != await value(bench, "plain")
    assert [diary(bench).count(entry) for entry in ("config", "model", "session", "session is closed")] == [1, 1, 6, 6]
    begun, ended = logged
    assert (begun["event"], begun["type"], begun["factories"]) == ("loading before forking", "shares", "model()")
    assert (ended["event"], ended["type"], ended["pid"]) == ("loaded before forking", "shares", parent)
    assert ended["seconds"] > 0


async def test_a_type_is_known_to_be_loading_until_it_is_ready(opened: Opening) -> None:
    bench = await opened("waits-for-a-load", "slow()")
    loaded = asyncio.Event()
    bench.processes.when_loaded(loaded.set)
    assert bench.processes.is_loading("waits-for-a-load")
    assert not bench.processes.is_loading("plain")
    (bench.folder / "go").touch()
    assert await ended(loaded.wait())
    assert not bench.processes.is_loading("waits-for-a-load")


async def test_it_is_cleaned_up_in_reverse_order_where_it_was_made_and_nowhere_else(opened: Opening) -> None:
    bench = await opened("shares")
    *_, nursery = await value(bench, "shares")
    await bench.processes.close()
    assert diary(bench)[-3:] == ["session is closed", *(f"{it} is closed by {nursery}" for it in ("model", "config"))]
    assert sum("is closed by" in entry for entry in diary(bench)) == 2
    await gone(nursery)


async def test_the_memory_of_a_buffer_is_there_once(opened: Opening) -> None:
    bench = await opened("reads", "buffer()")
    attempts = [await held(bench, "reads", f"j{n}") for n in range(8)]
    parent = _parent_of(attempts[0][1])
    memory_kib = sum(_of_the_buffer_kib(pid) for pid in (parent, *_children(parent)))
    assert memory_kib < 1.2 * 64 * 1024
    (bench.folder / "go").touch()
    assert await ended(asyncio.gather(*(task for task, _ in attempts))) == [Returned("null")] * 8


def _of_the_buffer_kib(pid: int) -> int:
    """A process's share (PSS) of the one mapping that is large enough for the buffer."""
    size_kib = 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "Size":
            size_kib = int(rest.split()[0])
        elif name == "Pss" and size_kib >= 64 * 1024:
            return int(rest.split()[0])
    raise AssertionError("there is no such mapping")


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_what_a_factory_prints_is_printed_once(
    opened: Opening, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    bench = await opened("shares")
    for _ in range(2):
        await value(bench, "shares")
    await bench.processes.close()
    assert capfd.readouterr().err.count("the model loads") == 1


async def test_a_program_that_a_factory_has_started_runs_until_the_clean_up(opened: Opening) -> None:
    bench = await opened("has-a-helper", "helper()")
    helper = await value(bench, "has-a-helper")
    assert await value(bench, "has-a-helper") == helper, "what attempts leave is killed, but not this"
    await bench.processes.close()
    assert diary(bench) == [f"helper ended: {-signal.SIGTERM}"]


# Loads that fail


async def test_a_load_that_fails_is_the_attempts_failure_and_the_next_attempt_loads_again(
    opened: Opening, logged: list[Any]
) -> None:
    bench = await opened("fails-at-first", "flaky()")
    end = await bench.run("fails-at-first")
    assert isinstance(end, Raised)
    assert end.error == JobError("handler-error", "The job's handler raised an error", "flaky(): OSError: not yet", 500)
    assert end.traceback is not None
    assert "in flaky\n" in end.traceback
    (bench.folder / "go").touch()
    assert await value(bench, "fails-at-first") == "made"
    noted = [entry.partition(" by ")[0] for entry in diary(bench)]
    assert noted == ["config", "flaky", "config is closed", "config", "flaky"]
    assert events(logged) == [
        "loading before forking",
        "loading before forking failed",
        "loading before forking",
        "loaded before forking",
    ]
    assert logged[1]["reason"] == "flaky(): OSError: not yet"
    assert "traceback" not in logged[1], "it is logged with the attempt"


async def test_a_load_that_fails_before_a_job_needs_it_is_logged_with_its_traceback(
    opened: Opening, logged: list[Any]
) -> None:
    await opened("fails-at-first", "flaky()")
    await until(lambda: "loading before forking failed" in events(logged))
    assert "in flaky\n" in logged[1]["traceback"]


@pytest.mark.parametrize(("how", "ended_how"), [("exit", "with exit code 3"), ("signal", "by signal 11")])
async def test_a_load_that_ends_its_process_is_the_attempts_failure_and_the_next_attempt_loads_again(
    opened: Opening, monkeypatch: pytest.MonkeyPatch, logged: list[Any], how: str, ended_how: str
) -> None:
    monkeypatch.setenv("DEADLY", how)
    bench = await opened("dies-at-first", "deadly()")
    end = await bench.run("dies-at-first")
    assert isinstance(end, Raised)
    assert (end.error.type, end.error.detail) == ("process-died", f"The process that loads deadly() ended {ended_how}.")
    assert isinstance(await value(bench, "plain"), int), "it harms no other type"
    (bench.folder / "go").touch()
    assert await value(bench, "dies-at-first") == "made"
    assert diary(bench) == ["deadly"] * 2
    assert logged[1]["how"] == ended_how


async def test_a_load_is_given_up_with_the_last_attempt_that_waits_for_it(opened: Opening, logged: list[Any]) -> None:
    bench = await opened("waits-for-a-load", "slow()")
    waiting = [bench.conversation("waits-for-a-load", job_id=job_id) for job_id in ("j", "k")]
    tasks = [asyncio.create_task(each.run()) for each in waiting]
    pid = int((await until(lambda: diary(bench)))[0].removeprefix("slow "))
    assert isinstance(await value(bench, "plain"), int), "other types go on"
    waiting[0].cancel()
    assert await ended(tasks[0]) == Stopped()
    assert alive(pid), "another one waits for it"
    waiting[1].cancel()
    assert await ended(tasks[1]) == Stopped()
    await gone(pid)
    (bench.folder / "go").touch()
    assert await value(bench, "waits-for-a-load") == "made"
    assert len(diary(bench)) == 2
    assert "loading before forking is given up: no job waits for it any more" in events(logged)


async def test_an_attempt_that_comes_while_a_load_is_given_up_waits_for_the_next_one(opened: Opening) -> None:
    bench = await opened("waits-for-a-load", "slow()")
    given_up = bench.conversation("waits-for-a-load")
    task = asyncio.create_task(given_up.run())
    await until(lambda: diary(bench))
    given_up.kill()
    assert await ended(task) == Stopped()
    following = asyncio.create_task(value(bench, "waits-for-a-load"))
    await until(lambda: len(diary(bench)) == 2)
    (bench.folder / "go").touch()
    assert await ended(following) == "made"


# Where it cannot be shared


@pytest.mark.parametrize(
    ("job_type", "factory", "reason"),
    [
        ("starts-a-thread", "threaded()", "it starts threads when it is called (busy)"),
        ("opens-a-socket", "connected()", "it opens a socket when it is called"),
    ],
)
async def test_what_does_not_survive_a_fork_is_made_in_each_process_and_the_log_says_why(
    opened: Opening, logged: list[Any], job_type: str, factory: str, reason: str
) -> None:
    bench = await opened(job_type, "all of them")
    general = await value(bench, "plain")
    for _ in range(2):
        assert await value(bench, job_type) == general
    assert not bench.processes.is_loading(job_type)
    (line,) = [line for line in logged if line["event"].startswith("what was to be loaded")]
    assert (line["type"], line["factory"], line["reason"]) == (job_type, factory, reason)
    made = factory.removesuffix("()")
    assert diary(bench).count(made) == 3, "once in vain, and then in each process"
    if made == "threaded":
        assert diary(bench).count("threaded is closed") == diary(bench).count("harmless is closed") == 3


async def test_a_process_whose_load_was_in_vain_gives_its_memory_back(opened: Opening) -> None:
    bench = await opened("starts-a-thread", "threaded()")
    general = await value(bench, "starts-a-thread")
    await until(lambda: _children(_parent_of(general)) == [general])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_new_interpreters_make_it_once_each(opened: Opening) -> None:
    bench = await opened("shares", forked=False)
    results = [await value(bench, "shares") for _ in range(2)]
    assert [parent for *_, parent in results] == [os.getpid()] * 2
    assert [diary(bench).count(entry) for entry in ("config", "model", "session")] == [2, 2, 2]
    assert sum("model is closed by" in entry for entry in diary(bench)) == 2


# Killed


async def test_a_killed_nursery_of_a_type_loses_its_attempts_and_loads_again(
    opened: Opening, logged: list[Any]
) -> None:
    bench = await opened("holds")
    general = await value(bench, "plain")
    running, child = await held(bench, "holds")
    nursery = _parent_of(child)
    os.kill(nursery, signal.SIGKILL)
    assert await ended(running) == Lost()
    assert not alive(child)
    bench.module.write_text("no Python", "utf-8")
    await until(lambda: diary(bench).count("model") == 2)  # before any attempt needs it
    (bench.folder / "go").touch()
    assert await bench.run("holds") == Returned("null")
    assert diary(bench).count("model") == 2
    assert await value(bench, "plain") == general, "the other nursery lives on"
    assert not bench.processes.is_loading("holds")
    died = next(line for line in logged if line["event"].startswith("the process that job processes"))
    assert (died["type"], died["how"], died["attempts"]) == ("holds", "by signal 9", 1)


async def test_what_is_loaded_outlives_the_keeper_and_is_then_made_in_each_process(opened: Opening) -> None:
    bench = await opened("shares")
    *_, nursery = await value(bench, "shares")
    os.kill(_parent_of(nursery), signal.SIGKILL)
    *_, parent = await value(bench, "shares")
    assert parent == nursery
    general = await value(bench, "plain")
    os.kill(nursery, signal.SIGKILL)
    await gone(nursery)
    *_, parent = await value(bench, "shares")
    assert parent == general
    assert not bench.processes.is_loading("shares")
    os.kill(general, signal.SIGKILL)  # now everything begins anew
    await gone(general)
    *_, parent = await value(bench, "shares")
    assert parent not in (nursery, general, await value(bench, "plain"))


async def test_a_load_dies_with_the_keeper_and_attempts_do_without_it(opened: Opening) -> None:
    bench = await opened("waits-for-a-load", "slow()")
    general = await value(bench, "plain")
    running = asyncio.create_task(value(bench, "waits-for-a-load"))
    pid = int((await until(lambda: diary(bench)))[0].removeprefix("slow "))
    os.kill(_parent_of(general), signal.SIGKILL)
    await gone(pid)
    (bench.folder / "go").touch()
    assert await ended(running) == "made"
    assert await value(bench, "plain") == general


# The end


async def test_a_clean_up_that_fails_is_logged_and_the_others_are_cleaned_up(
    opened: Opening, logged: list[Any]
) -> None:
    bench = await opened("fails-in-clean-up")
    assert await bench.run("fails-in-clean-up") == Returned("null")
    await bench.processes.close()
    failed = logged[-1]
    assert (failed["event"], failed["type"]) == ("cleaning up a dependency failed", "fails-in-clean-up")
    assert failed["factory"] == "fails_at_the_end()"
    assert "OSError: the disk is full" in failed["traceback"]
    assert diary(bench)[-1].startswith("config is closed by")


async def test_a_clean_up_that_hangs_is_killed(
    opened: Opening, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preloading, "CLEAN_UP_WITHIN_S", 0.5)
    bench = await opened("hangs-in-clean-up")
    nursery = await value(bench, "hangs-in-clean-up")
    await bench.processes.close()
    await gone(nursery)
    assert diary(bench) == ["hangs"]
    assert events(logged)[-1] == "cleaning up what was loaded before forking took too long, and it was killed"


async def test_a_clean_up_that_hangs_after_a_load_has_failed_does_not_hold_up_the_next_load(
    opened: Opening, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preloading, "CLEAN_UP_WITHIN_S", 0.5)
    bench = await opened("fails-and-hangs", "fails_once()")
    assert isinstance(await bench.run("fails-and-hangs"), Raised)
    (bench.folder / "go").touch()
    assert await value(bench, "fails-and-hangs") == "made"
    assert "cleaning up what was loaded before forking took too long, and it was killed" in events(logged)


async def test_a_load_that_hangs_does_not_hold_up_the_end(opened: Opening) -> None:
    bench = await opened("waits-for-a-load", "slow()")
    pid = int((await until(lambda: diary(bench)))[0].removeprefix("slow "))
    await ended(bench.processes.close())
    await gone(pid)
