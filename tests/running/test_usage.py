"""What the processes of `def` handlers use, measured where their end is seen; real processes, forked and spawned."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from headway.domain.attempts import Usage
from headway.running.calling import Raised, Returned
from headway.running.processes.processes import Processes

from tests.support.children import Bench, Listener, ended

MIB = 1024 * 1024
ALLOCATED_MIB = 256

JOBS = """
import os, subprocess, sys, time
from pydantic import BaseModel
from headway import BlockingContext, job

class Work(BaseModel):
    mib: int = 0
    cpu_s: float = 0.0

PROGRAM = "import sys, time\\nb = b'x' * int(sys.argv[1])\\nwhile time.process_time() < float(sys.argv[2]): pass"

def work(input):
    used = bytearray(b"x" * (input.mib << 20))
    until = time.process_time() + input.cpu_s
    while time.process_time() < until:
        pass

@job("works")
def works(ctx: BlockingContext, input: Work) -> int:
    work(input)
    return os.getpid()

@job("stays", keep_process=True)
def stays(ctx: BlockingContext, input: Work) -> int:
    work(input)
    return os.getpid()

@job("stays-and-dies", keep_process=True)
def stays_and_dies(ctx: BlockingContext, input: Work) -> int:
    work(input)
    if not input.mib:
        os.kill(os.getpid(), 9)
    return os.getpid()

@job("dies")
def dies(ctx: BlockingContext, input: Work) -> None:
    work(input)
    os.kill(os.getpid(), 9)

@job("starts-a-program")
def starts_a_program(ctx: BlockingContext, input: Work) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, str(input.mib << 20), str(input.cpu_s)], check=True)
"""


class Uses(Bench):
    """Runs attempts and tells what each used."""

    async def usage(self, job_type: str, mib: int = 0, cpu_s: float = 0.0) -> tuple[object, Usage | None]:
        listener = Listener()
        input_json = json.dumps({"mib": mib, "cpu_s": cpu_s})
        end = await ended(self.conversation(job_type, input_json, listener).run())
        return end, listener.usage

    async def returned(self, job_type: str, mib: int = 0, cpu_s: float = 0.0) -> tuple[str, Usage]:
        """What the handler returned, and what it used."""
        end, usage = await self.usage(job_type, mib, cpu_s)
        assert isinstance(end, Returned), end
        assert usage is not None
        return end.result_json, usage


@pytest.fixture(params=["forked", "spawned"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Uses]:
    module = tmp_path / "jobs_that_use_much.py"
    module.write_text(JOBS, "utf-8")
    processes = Processes([str(module)] if request.param == "forked" else [], spares=1)
    await processes.open()
    yield Uses(tmp_path, module, processes)
    await processes.close()


async def test_an_attempts_memory_and_cpu_time_are_measured(bench: Uses) -> None:
    _, idle = await bench.returned("works")
    _, busy = await bench.returned("works", ALLOCATED_MIB, 0.3)
    assert idle.peak_memory_bytes < ALLOCATED_MIB * MIB < busy.peak_memory_bytes
    assert busy.cpu_s >= 0.3


async def test_a_program_that_a_handler_waited_for_counts(bench: Uses) -> None:
    _, used = await bench.returned("starts-a-program", ALLOCATED_MIB, 0.3)
    assert used.peak_memory_bytes > ALLOCATED_MIB * MIB
    assert used.cpu_s >= 0.3


async def test_each_attempt_in_a_kept_process_counts_for_itself(bench: Uses) -> None:
    process, first = await bench.returned("stays", ALLOCATED_MIB, 0.3)
    same, second = await bench.returned("stays")
    assert process == same
    assert first.peak_memory_bytes > ALLOCATED_MIB * MIB > second.peak_memory_bytes
    assert first.cpu_s >= 0.3 > second.cpu_s
    _, third = await bench.returned("stays", ALLOCATED_MIB)
    assert third.peak_memory_bytes > ALLOCATED_MIB * MIB


@pytest.mark.parametrize("bench", ["forked"], indirect=True)
async def test_what_a_killed_process_used_is_known(bench: Uses) -> None:
    end, used = await bench.usage("dies", ALLOCATED_MIB, 0.3)
    assert isinstance(end, Raised)
    assert end.error.detail == f"It ended by signal {signal.SIGKILL.value}."
    assert used is not None
    assert used.peak_memory_bytes > ALLOCATED_MIB * MIB
    assert used.cpu_s >= 0.3


@pytest.mark.parametrize("bench", ["forked"], indirect=True)
async def test_a_kept_process_that_is_killed_counts_for_its_last_attempt_alone(bench: Uses) -> None:
    _, first = await bench.returned("stays-and-dies", ALLOCATED_MIB, 0.3)
    end, last = await bench.usage("stays-and-dies")
    assert isinstance(end, Raised)
    assert last is not None
    assert first.peak_memory_bytes > ALLOCATED_MIB * MIB > last.peak_memory_bytes
    assert first.cpu_s >= 0.3 > last.cpu_s


@pytest.mark.parametrize("bench", ["spawned"], indirect=True)
async def test_what_a_killed_interpreter_used_is_unknown(bench: Uses) -> None:
    end, used = await bench.usage("dies")
    assert isinstance(end, Raised)
    assert used is None
