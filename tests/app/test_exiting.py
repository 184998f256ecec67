"""A process that is told to stop ends, whatever holds up its shutdown: tested with processes of their own."""

import signal
import subprocess
import sys

import pytest

from tests.support.process import WAIT_TIMEOUT_S

SERVES = """
import asyncio, sys, threading, time
from headway.app.listening import stopped_by_signals

async def serve():
    with stopped_by_signals(float(sys.argv[2])) as stop:
        print("serving", flush=True)
        if sys.argv[1] == "blocked":
            time.sleep(600)
        await stop.wait()
        print("stopping", flush=True)
        if sys.argv[1] == "stuck":
            threading.Thread(target=time.sleep, args=(600,), name="job:reads:7_0").start()
            await asyncio.create_task(asyncio.sleep(600), name="job:waits:8")

asyncio.run(serve())
"""


def serving(how: str, within_s: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SERVES, how, str(within_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"
    return process


@pytest.mark.parametrize("how", ["stuck", "blocked"])
def test_a_shutdown_that_is_stuck_ends_the_process_and_the_log_says_what_held_on(how: str) -> None:
    with serving(how, 0.01) as process:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=WAIT_TIMEOUT_S)
    assert process.returncode == 1
    assert "exiting although the shutdown is not complete" in output
    if how == "stuck":
        assert "threads=['job:reads:7_0']" in output
        assert "tasks=['job:waits:8']" in output


def test_a_shutdown_that_is_stuck_ends_the_process_even_if_nobody_reads_its_log() -> None:
    with serving("blocked", 0.01) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(WAIT_TIMEOUT_S) == 1
        finally:
            process.kill()


def test_a_second_signal_ends_a_process_whose_event_loop_is_blocked() -> None:
    with serving("blocked", 600) as process:
        process.send_signal(signal.SIGINT)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 1


def test_a_shutdown_in_time_is_no_failure() -> None:
    with serving("well", 600) as process:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=WAIT_TIMEOUT_S)
    assert (process.returncode, output) == (0, "stopping\n")


LEAVES = """
import asyncio
from headway.app.exiting import exit_if_left

async def leave():
    waiting = [asyncio.create_task(asyncio.sleep(600)) for _ in range(1_000)]
    exit_if_left({*waiting, asyncio.create_task(asyncio.sleep(600), name="job:waits:8")})

asyncio.run(leave())
"""


def test_of_very_many_tasks_that_are_left_the_log_names_handlers_and_a_few() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LEAVES], capture_output=True, text=True, timeout=WAIT_TIMEOUT_S, check=True
    )
    output = ended.stdout + ended.stderr
    assert "tasks=['job:waits:8', 'Task-" in output
    assert output.count("'Task-") == 19
    assert "more=981" in output
