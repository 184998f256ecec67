"""Attempts in real child processes: however a child ends, its attempt ends, and no process is left."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from headway.authoring.uploads import Upload
from headway.domain.jobs import JobError
from headway.running.calling import Raised, Returned, Stopped
from headway.running.processes import spawning
from headway.running.processes.forked import children
from headway.running.processes.messages import CheckpointOutcome
from headway.running.processes.processes import Processes

from tests.support.children import Bench, Listener, ended
from tests.support.process import alive, eventually, held_up

JOBS = '''
import logging, multiprocessing, os, signal, stat, sys, threading, time
from pathlib import Path
from pydantic import BaseModel
from headway import BlockingContext, JobFailed, Upload, job

class Text(BaseModel):
    text: str = ""

class Document(BaseModel):
    document: Upload

def sockets():
    """The sockets that this process holds: the server's."""
    for descriptor in range(3, 100):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                yield descriptor
        except OSError:
            pass

@job("reports")
def reports(ctx: BlockingContext, input: Text) -> str:
    ctx.progress(done=1, total=2, unit="rows", message=input.text)
    ctx.log("a line")
    return input.text

@job("prints")
def prints(ctx: BlockingContext) -> None:
    print("printed")
    logging.getLogger("mine").warning("logged")
    thread = threading.Thread(target=print, args=("in a thread",))
    thread.start()
    thread.join()
    print("without an end", end="")

@job("reads")
def reads(ctx: BlockingContext, input: Document) -> str:
    return input.document.filename

@job("raises", no_retry=(KeyError,))
def raises(ctx: BlockingContext, input: Text) -> None:
    raise {"final": KeyError, "exit": SystemExit, "failed": JobFailed}.get(input.text, ValueError)(input.text)

@job("kills-itself")
def kills_itself(ctx: BlockingContext) -> None:
    os.kill(os.getpid(), signal.SIGKILL)

@job("exits")
def exits(ctx: BlockingContext) -> None:
    os._exit(7)

@job("closes-its-socket")
def closes_its_socket(ctx: BlockingContext) -> None:
    for descriptor in sockets():
        os.close(descriptor)
    time.sleep(600)

@job("scribbles")
def scribbles(ctx: BlockingContext) -> None:
    for descriptor in sockets():
        os.write(descriptor, b"printed to the wrong file")
    time.sleep(600)

@job("waits")
def waits(ctx: BlockingContext) -> str:
    ctx.log(f"pid {os.getpid()}")
    while not ctx.cancelled:
        time.sleep(0.005)
    return "saw the flag"

@job("sleeps")
def sleeps(ctx: BlockingContext) -> None:
    ctx.log(f"pid {os.getpid()}")
    time.sleep(600)

@job("saves")
def saves(ctx: BlockingContext) -> object:
    try:
        ctx.checkpoint({"page": 5})
    except Exception as error:
        return type(error).__name__
    return ctx.resumed

def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

@job("forks")
def forks(ctx: BlockingContext, input: Text) -> object:
    if pid := os.fork():
        return exit_code(pid)
    match input.text:
        case "returns":
            return "the forked process"
        case "exits":
            sys.exit(3)
        case "exits well":
            sys.exit()
        case "exits with words":
            sys.exit("no route")
        case "is terminated":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(600)
    raise JobFailed("Of the forked process") if input.text == "fails" else ValueError(input.text)

@job("saves-in-a-fork")
def saves_in_a_fork(ctx: BlockingContext) -> object:
    if pid := os.fork():
        return exit_code(pid)
    try:
        ctx.checkpoint({"page": 5})
    except RuntimeError:
        sys.exit(5)

def reports_from_elsewhere(ctx):
    for number in range(3):
        ctx.log(f"elsewhere {number}")
        print(f"printed {number}")
    ctx.progress(message="elsewhere")

@job("has-helpers")
def has_helpers(ctx: BlockingContext) -> object:
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        squares = pool.map(abs, [-1, 2])
    helper = context.Process(target=reports_from_elsewhere, args=(ctx,))
    for number in range(5):
        ctx.log(f"here {number}")
    helper.start()
    helper.join()
    return [*squares, helper.exitcode]
'''


@pytest.fixture(params=["forked", "spawned"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    module = tmp_path / "jobs_for_children.py"
    module.write_text(JOBS, "utf-8")
    processes = Processes([str(module)] if request.param == "forked" else [], spares=1)
    await processes.open()
    yield Bench(tmp_path, module, processes)
    await processes.close()


def waited_for(lock: Path) -> bool:
    """Whether a process is blocked on a file's lock (proc(5), /proc/locks)."""
    inode = f":{lock.stat().st_ino} "
    return any("->" in line and inode in line for line in Path("/proc/locks").read_text("ascii").splitlines())


def died(detail: str) -> Raised:
    return Raised(JobError("process-died", "The job's process ended unexpectedly", detail, 500))


async def test_a_child_reports_and_returns(bench: Bench) -> None:
    assert await bench.run("reports", '{"text":"Größe"}') == Returned('"Größe"')
    assert bench.listener.begun == 1
    assert bench.listener.values[-1] == (1, 2, None, "rows", "Größe", None)
    assert bench.listener.lines == ["a line"]


async def test_what_a_handler_prints_and_logs_are_lines_of_its_job(bench: Bench) -> None:
    assert await bench.run("prints") == Returned("null")
    assert bench.listener.lines == ["printed", "logged", "in a thread", "without an end"]


async def test_an_attempt_ends_although_the_kernel_holds_up_its_killed_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (children, spawning):
        monkeypatch.setattr(module, "DIE_WITHIN_S", 0.05)
    attempt = bench.conversation("sleeps")
    running = asyncio.create_task(attempt.run())
    pid = await bench.listener.pid()
    with held_up(pid):
        attempt.kill()
        assert await ended(running) == died("It ended by signal 9.")
    assert bench.listener.pids_left == {pid}
    await asyncio.to_thread(eventually, lambda: not Path(f"/proc/{pid}").exists())


async def test_a_child_is_handed_its_uploads(bench: Bench) -> None:
    uploads = {"document": Upload(bench.folder / "x", "x.pdf", "application/pdf", 5)}
    assert await bench.run("reads", uploads=uploads) == Returned('"x.pdf"')


@pytest.mark.parametrize(
    ("text", "kind", "detail", "final"),
    [
        ("broken", "handler-error", "ValueError: broken", False),
        ("final", "handler-error", "KeyError: 'final'", True),
        ("exit", "handler-error", "SystemExit: exit", False),
        ("failed", "job-failed", None, True),
    ],
)
async def test_what_a_handler_raises_arrives(
    bench: Bench, text: str, kind: str, detail: str | None, final: bool
) -> None:
    end = await bench.run("raises", f'{{"text":"{text}"}}')
    assert isinstance(end, Raised)
    assert (end.error.type, end.error.detail, end.final, end.exception) == (kind, detail, final, None)
    assert (end.traceback is None) is (kind == "job-failed")


async def test_a_module_that_cannot_be_loaded_is_the_handlers_error(bench: Bench) -> None:
    end = await bench.run("reports", source=str(bench.folder / "gone.py"))
    assert isinstance(end, Raised)
    assert "there is no job module at" in str(end.error.detail)
    assert bench.listener.begun == 0


@pytest.mark.parametrize(
    ("job_type", "detail"), [("kills-itself", "It ended by signal 9."), ("exits", "It ended with exit code 7.")]
)
async def test_a_child_that_dies_ends_its_attempt(bench: Bench, job_type: str, detail: str) -> None:
    assert await bench.run(job_type) == died(detail)


async def test_a_child_that_closes_its_socket_ends_and_says_so(bench: Bench) -> None:
    detail = "Its handler closed the server's socket, or read from it, so its end was not received."
    assert await bench.run("closes-its-socket") == died(detail)


async def test_a_child_that_scribbles_on_its_socket_is_killed(bench: Bench) -> None:
    assert await bench.run("scribbles") == died("It wrote to the server's socket.")


async def test_a_cancel_sets_the_handlers_flag(bench: Bench) -> None:
    conversation = bench.conversation("waits")
    running = asyncio.create_task(conversation.run())
    await bench.listener.pid()
    conversation.cancel()
    assert await ended(running) == Returned('"saw the flag"')


async def test_a_cancel_before_the_child_is_there_reaches_it(bench: Bench) -> None:
    conversation = bench.conversation("waits")
    conversation.cancel()
    assert await ended(conversation.run()) == Returned('"saw the flag"')


async def test_an_interrupted_handler_stops(bench: Bench) -> None:
    conversation = bench.conversation("sleeps")
    running = asyncio.create_task(conversation.run())
    await bench.listener.pid()
    conversation.terminate()
    assert await ended(running) == Stopped()


@pytest.mark.parametrize("before", [True, False])
async def test_a_killed_child_ends_at_once(bench: Bench, before: bool) -> None:
    conversation = bench.conversation("sleeps")
    if before:
        conversation.kill()
    running = asyncio.create_task(conversation.run())
    if not before:
        await bench.listener.pid()
        conversation.kill()
    assert await ended(running) == died("It ended by signal 9.")


async def test_a_child_is_gone_when_its_attempt_is_given_up(bench: Bench) -> None:
    running = asyncio.create_task(bench.conversation("sleeps").run())
    pid = await bench.listener.pid()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ended(running)
    assert not alive(pid)


async def test_a_child_killed_from_outside_ends_its_attempt(bench: Bench) -> None:
    running = asyncio.create_task(bench.conversation("sleeps").run())
    os.kill(await bench.listener.pid(), signal.SIGKILL)
    assert await ended(running) == died("It ended by signal 9.")


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (CheckpointOutcome.STORED, '{"page":4}'),
        (CheckpointOutcome.LOST, '"ClaimLostError"'),
        (CheckpointOutcome.FAILED, '"StoreUnavailableError"'),
    ],
)
async def test_a_checkpoint_is_answered(bench: Bench, answer: CheckpointOutcome, result: str) -> None:
    bench.answer = answer
    assert await bench.run("saves", checkpoint_json='{"page": 4}') == Returned(result)
    assert bench.checkpoints == ['{"page":5}']


async def test_two_attempts_of_a_job_never_run_at_once(bench: Bench) -> None:
    first = asyncio.create_task(bench.conversation("sleeps").run())
    pid = await bench.listener.pid()
    bench.listener = second = Listener()
    after = asyncio.create_task(bench.conversation("reports").run())
    lock = bench.folder / "lock"
    await asyncio.to_thread(eventually, lambda: waited_for(lock))
    assert second.begun == 0
    os.kill(pid, signal.SIGKILL)
    assert await ended(first) == died("It ended by signal 9.")
    assert await ended(after) == Returned('""')


# Processes that a handler forks


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("returns", 0),
        ("raises", 1),
        ("fails", 1),
        ("exits", 3),
        ("exits well", 0),
        ("exits with words", 1),
        ("is terminated", -signal.SIGTERM),
    ],
)
async def test_a_forked_process_that_comes_out_of_the_handler_ends_and_says_nothing_of_the_attempt(
    bench: Bench, how: str, code: int
) -> None:
    assert await bench.run("forks", f'{{"text": "{how}"}}') == Returned(str(code))
    assert bench.listener.lines == []


async def test_a_forked_process_cannot_store_a_checkpoint(bench: Bench) -> None:
    assert await bench.run("saves-in-a-fork") == Returned("5")
    assert bench.checkpoints == []


async def test_a_handler_may_have_processes_that_compute_and_report_for_it(bench: Bench) -> None:
    assert await bench.run("has-helpers") == Returned("[1,2,0]")
    assert [values[4] for values in bench.listener.values] == ["elsewhere"]
    lines = bench.listener.lines  # none of a traceback: helpers that are terminated only end
    assert [line for line in lines if line.startswith("here")] == [f"here {number}" for number in range(5)]
    elsewhere = [line for number in range(3) for line in (f"elsewhere {number}", f"printed {number}")]
    assert [line for line in lines if not line.startswith("here")] == elsewhere
