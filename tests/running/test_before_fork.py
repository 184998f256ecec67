"""Dependencies made before a type's processes are forked: what is declared, what is shared, and the end of it."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from headway import BlockingContext, Depends, job
from headway.authoring.declaring import declared
from headway.running.calling import Raised, Returned
from headway.running.processes.forked import preloading
from headway.running.processes.forked.preloading import Preload
from structlog.testing import capture_logs

from tests.support.children import ended
from tests.support.sharing import Opening, children_of, events, gone, parent_of, until


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


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


async def test_the_processes_of_a_type_share_what_is_loaded_once(sharing: Opening, logged: list[Any]) -> None:
    bench = await sharing("shares")
    results = await asyncio.gather(*(bench.value("shares", f"j{n}") for n in range(6)))
    assert results == [results[0]] * 6, "the same object in each of them, and what one does with it is its own"
    (_, config, nursery, only_here, session, parent) = results[0]
    assert (config, only_here, session) == ("config", "only in this process", "config")
    assert int(nursery) == parent != await bench.value("plain")
    assert [bench.diary.count(entry) for entry in ("config", "model", "session", "session is closed")] == [1, 1, 6, 6]
    begun, ended = logged
    assert (begun["event"], begun["type"], begun["factories"]) == ("loading before forking", "shares", "model()")
    assert (ended["event"], ended["type"], ended["pid"]) == ("loaded before forking", "shares", parent)
    assert ended["seconds"] > 0


async def test_a_type_is_known_to_be_loading_until_it_is_ready(sharing: Opening) -> None:
    bench = await sharing("waits-for-a-load", "slow()")
    loaded = asyncio.Event()
    bench.processes.when_loaded(loaded.set)
    assert bench.processes.is_loading("waits-for-a-load")
    assert not bench.processes.is_loading("plain")
    bench.go()
    assert await ended(loaded.wait())
    assert not bench.processes.is_loading("waits-for-a-load")


async def test_it_is_cleaned_up_in_reverse_order_where_it_was_made_and_nowhere_else(sharing: Opening) -> None:
    bench = await sharing("shares")
    *_, nursery = await bench.value("shares")
    await bench.processes.close()
    assert bench.diary[-3:] == ["session is closed", *(f"{it} is closed by {nursery}" for it in ("model", "config"))]
    assert sum("is closed by" in entry for entry in bench.diary) == 2
    await gone(nursery)


async def test_processes_that_stay_share_it_too(sharing: Opening) -> None:
    bench = await sharing("keeps")
    first, second = [await bench.value("keeps", job_id) for job_id in ("j", "k")]
    assert first == second
    await bench.processes.close()
    noted = [entry.partition(" by ")[0] for entry in bench.diary]
    assert noted == ["config", "model", "session", "session is closed", "model is closed", "config is closed"]
    assert bench.diary[-1].endswith(str(first[1])), "by the nursery"


async def test_the_memory_of_a_buffer_is_there_once(sharing: Opening) -> None:
    bench = await sharing("reads", "buffer()")
    attempts = [await bench.held("reads", f"j{n}") for n in range(8)]
    parent = parent_of(attempts[0][1])
    memory_kib = sum(_of_the_buffer_kib(pid) for pid in (parent, *children_of(parent)))
    assert memory_kib < 1.2 * 64 * 1024
    bench.go()
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


async def test_what_a_factory_prints_is_printed_once(
    sharing: Opening, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    bench = await sharing("shares")
    for _ in range(2):
        await bench.value("shares")
    await bench.processes.close()
    assert capfd.readouterr().err.count("the model loads") == 1


async def test_a_program_that_a_factory_has_started_runs_until_the_clean_up(sharing: Opening) -> None:
    bench = await sharing("has-a-helper", "helper()")
    helper = await bench.value("has-a-helper")
    assert await bench.value("has-a-helper") == helper, "what attempts leave is killed, but not this"
    await bench.processes.close()
    assert bench.diary == [f"helper ended: {-signal.SIGTERM}"]


# The end


async def test_a_clean_up_that_fails_is_logged_and_the_others_are_cleaned_up(
    sharing: Opening, logged: list[Any]
) -> None:
    bench = await sharing("fails-in-clean-up")
    assert await bench.run("fails-in-clean-up") == Returned("null")
    await bench.processes.close()
    failed = logged[-1]
    assert (failed["event"], failed["type"]) == ("cleaning up a dependency failed", "fails-in-clean-up")
    assert failed["factory"] == "fails_at_the_end()"
    assert "OSError: the disk is full" in failed["traceback"]
    assert bench.diary[-1].startswith("config is closed by")


@pytest.mark.parametrize("orphaned", [False, True])
async def test_a_clean_up_that_hangs_is_killed(
    sharing: Opening, logged: list[Any], monkeypatch: pytest.MonkeyPatch, orphaned: bool
) -> None:
    monkeypatch.setattr(preloading, "CLEAN_UP_WITHIN_S", 0.5)
    bench = await sharing("hangs-in-clean-up", "hangs_at_the_end()")
    nursery = await bench.value("hangs-in-clean-up")
    if orphaned:
        os.kill(parent_of(nursery), signal.SIGKILL)
        await until(lambda: "the process that keeps the job modules loaded has died" in events(logged))
    await bench.processes.close()
    await gone(nursery)
    assert bench.diary == ["hangs"]
    assert events(logged)[-1] == "cleaning up what was loaded before forking took too long, and it was killed"


async def test_a_clean_up_that_hangs_after_a_load_has_failed_does_not_hold_up_the_next_load(
    sharing: Opening, logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preloading, "CLEAN_UP_WITHIN_S", 0.5)
    bench = await sharing("fails-and-hangs", "fails_once()")
    assert isinstance(await bench.run("fails-and-hangs"), Raised)
    bench.go()
    assert await bench.value("fails-and-hangs") == "made"
    assert "cleaning up what was loaded before forking took too long, and it was killed" in events(logged)


async def test_a_load_that_hangs_does_not_hold_up_the_end(sharing: Opening) -> None:
    bench = await sharing("waits-for-a-load", "slow()")
    pid = await bench.slow_pid()
    await ended(bench.processes.close())
    await gone(pid)
