"""Loads before processes are forked that fail, die or hang, or cannot be forked; and nurseries that are killed."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from headway.domain.jobs import JobError
from headway.running.calling import Lost, Raised, Returned, Stopped
from structlog.testing import capture_logs

from tests.support.children import ended
from tests.support.process import alive
from tests.support.sharing import Opening, children_of, events, gone, parent_of, until


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


# Loads that fail


async def test_a_load_that_fails_is_the_attempts_failure_and_the_next_attempt_loads_again(
    sharing: Opening, logged: list[Any]
) -> None:
    bench = await sharing("fails-at-first", "flaky()")
    end = await bench.run("fails-at-first")
    assert isinstance(end, Raised)
    assert end.error == JobError("handler-error", "The job's handler raised an error", "flaky(): OSError: not yet", 500)
    assert end.traceback is not None
    assert "in flaky\n" in end.traceback
    bench.go()
    assert await bench.value("fails-at-first") == "made"
    noted = [entry.partition(" by ")[0] for entry in bench.diary]
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
    sharing: Opening, logged: list[Any]
) -> None:
    await sharing("fails-at-first", "flaky()")
    await until(lambda: "loading before forking failed" in events(logged))
    assert "in flaky\n" in logged[1]["traceback"]


@pytest.mark.parametrize(("how", "ended_how"), [("exit", "with exit code 3"), ("signal", "by signal 11")])
async def test_a_load_that_ends_its_process_is_the_attempts_failure_and_the_next_attempt_loads_again(
    sharing: Opening, monkeypatch: pytest.MonkeyPatch, logged: list[Any], how: str, ended_how: str
) -> None:
    monkeypatch.setenv("DEADLY", how)
    bench = await sharing("dies-at-first", "deadly()")
    end = await bench.run("dies-at-first")
    assert isinstance(end, Raised)
    assert (end.error.type, end.error.detail) == ("process-died", f"The process that loads deadly() ended {ended_how}.")
    assert isinstance(await bench.value("plain"), int), "it harms no other type"
    bench.go()
    assert await bench.value("dies-at-first") == "made"
    assert bench.diary == ["deadly"] * 2
    assert logged[1]["how"] == ended_how


async def test_a_load_is_given_up_with_the_last_attempt_that_waits_for_it(sharing: Opening, logged: list[Any]) -> None:
    bench = await sharing("waits-for-a-load", "slow()")
    waiting = [bench.conversation("waits-for-a-load", job_id=job_id) for job_id in ("j", "k")]
    tasks = [asyncio.create_task(each.run()) for each in waiting]
    pid = await bench.slow_pid()
    assert isinstance(await bench.value("plain"), int), "other types go on"
    waiting[0].cancel()
    assert await ended(tasks[0]) == Stopped()
    assert alive(pid), "another one waits for it"
    waiting[1].cancel()
    assert await ended(tasks[1]) == Stopped()
    await gone(pid)
    bench.go()
    assert await bench.value("waits-for-a-load") == "made"
    assert len(bench.diary) == 2
    assert "loading before forking is given up: no job waits for it any more" in events(logged)


async def test_an_attempt_that_comes_while_a_load_is_given_up_waits_for_the_next_one(sharing: Opening) -> None:
    bench = await sharing("waits-for-a-load", "slow()")
    given_up = bench.conversation("waits-for-a-load")
    task = asyncio.create_task(given_up.run())
    await until(lambda: bench.diary)
    given_up.kill()
    assert await ended(task) == Stopped()
    following = asyncio.create_task(bench.value("waits-for-a-load"))
    await until(lambda: len(bench.diary) == 2)
    bench.go()
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
    sharing: Opening, logged: list[Any], job_type: str, factory: str, reason: str
) -> None:
    bench = await sharing(job_type, "all of them")
    general = await bench.value("plain")
    for _ in range(2):
        assert await bench.value(job_type) == general
    assert not bench.processes.is_loading(job_type)
    (line,) = [line for line in logged if line["event"].startswith("what was to be loaded")]
    assert (line["type"], line["factory"], line["reason"]) == (job_type, factory, reason)
    made = factory.removesuffix("()")
    assert bench.diary.count(made) == 3, "the load that could not be used, then one in each of two processes"
    if made == "threaded":
        assert bench.diary.count("threaded is closed") == bench.diary.count("harmless is closed") == 3


async def test_a_process_whose_load_was_in_vain_gives_its_memory_back(sharing: Opening) -> None:
    bench = await sharing("starts-a-thread", "threaded()")
    general = await bench.value("starts-a-thread")
    await until(lambda: children_of(parent_of(general)) == [general])


async def test_new_interpreters_make_it_once_each(sharing: Opening) -> None:
    bench = await sharing("shares", forked=False)
    results = [await bench.value("shares") for _ in range(2)]
    assert [parent for *_, parent in results] == [os.getpid()] * 2
    assert [bench.diary.count(entry) for entry in ("config", "model", "session")] == [2, 2, 2]
    assert sum("model is closed by" in entry for entry in bench.diary) == 2


# Killed


async def test_a_killed_nursery_of_a_type_loses_its_attempts_and_loads_again(
    sharing: Opening, logged: list[Any]
) -> None:
    bench = await sharing("holds")
    general = await bench.value("plain")
    running, child = await bench.held("holds")
    nursery = parent_of(child)
    os.kill(nursery, signal.SIGKILL)
    assert await ended(running) == Lost()
    assert not alive(child)
    bench.module.write_text("no Python", "utf-8")
    await until(lambda: bench.diary.count("model") == 2)  # before any attempt needs it
    bench.go()
    assert await bench.run("holds") == Returned("null")
    assert bench.diary.count("model") == 2
    assert await bench.value("plain") == general, "the other nursery lives on"
    assert not bench.processes.is_loading("holds")
    died = next(line for line in logged if line["event"].startswith("the process that job processes"))
    assert (died["type"], died["how"], died["attempts"]) == ("holds", "by signal 9", 1)


async def test_what_is_loaded_outlives_the_keeper_and_is_then_made_in_each_process(sharing: Opening) -> None:
    bench = await sharing("shares")
    *_, nursery = await bench.value("shares")
    os.kill(parent_of(nursery), signal.SIGKILL)
    *_, parent = await bench.value("shares")
    assert parent == nursery
    general = await bench.value("plain")
    os.kill(nursery, signal.SIGKILL)
    await gone(nursery)
    *_, parent = await bench.value("shares")
    assert parent == general
    assert not bench.processes.is_loading("shares")
    os.kill(general, signal.SIGKILL)  # now everything begins anew
    await gone(general)
    *_, parent = await bench.value("shares")
    assert parent not in (nursery, general, await bench.value("plain"))


async def test_a_nursery_that_died_just_before_the_keeper_is_forked_again(sharing: Opening) -> None:
    bench = await sharing("shares")
    *_, nursery = await bench.value("shares")
    general = await bench.value("plain")
    keeper = parent_of(nursery)
    os.kill(keeper, signal.SIGSTOP)  # it does not report that they have ended
    await until(lambda: Path(f"/proc/{keeper}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    for pid in (nursery, general):
        os.kill(pid, signal.SIGKILL)
    await gone(nursery, general)
    with suppress(ProcessLookupError):  # on a slow machine the server has killed it
        os.kill(keeper, signal.SIGKILL)
    *_, parent = await bench.value("shares")
    assert parent not in (nursery, general, await bench.value("plain"))


async def test_a_load_dies_with_the_keeper_and_attempts_do_without_it(sharing: Opening) -> None:
    bench = await sharing("waits-for-a-load", "slow()")
    general = await bench.value("plain")
    running = asyncio.create_task(bench.value("waits-for-a-load"))
    pid = await bench.slow_pid()
    os.kill(parent_of(general), signal.SIGKILL)
    await gone(pid)
    bench.go()
    assert await ended(running) == "made"
    assert await bench.value("plain") == general
