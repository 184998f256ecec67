"""The engine: what it claims, when it stops attempts, what it publishes; the record and the executor are fakes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog
from headway import BlockingContext, Context, job
from headway.backends.bells import LocalHub
from headway.clock import utc_now
from headway.domain.jobs import Job, Status
from headway.errors import StoreUnavailableError
from headway.loops import Loops
from headway.ports.events import Bell
from headway.ports.jobs import Recovery
from headway.running import engine
from headway.running.attempt import Attempt, StopReason
from headway.running.engine import EmbeddedEngine
from headway.running.failure_hook import FailureHook
from typing_extensions import override

from tests.support.attempts import LIMITS, FakeStore, a_job, registry_of

MANY_TURNS = 1_000_000


class FakeExecutor:
    """Attempts run until the test ends them, or they are asked to stop."""

    def __init__(self) -> None:
        self.begun: list[Attempt] = []
        self.stopped: list[tuple[str, StopReason]] = []
        self.error: Exception | None = None
        self._may_end: dict[str, asyncio.Event] = {}

    async def execute(self, attempt: Attempt) -> None:
        self.begun.append(attempt)
        may_end = self._may_end[attempt.job.id] = asyncio.Event()
        ended: asyncio.Future[Any] = asyncio.ensure_future(may_end.wait())
        try:
            await asyncio.wait({ended, attempt.settled}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        if attempt.stop_reason is not None:
            self.stopped.append((attempt.job.id, attempt.stop_reason))
        if self.error is not None:
            raise self.error

    def end(self, job_id: str) -> None:
        self._may_end[job_id].set()

    @property
    def types(self) -> list[str]:
        return [attempt.job.type for attempt in self.begun]

    @property
    def ids(self) -> list[str]:
        return [attempt.job.id for attempt in self.begun]


class FakeHook(FailureHook):
    """Notes which jobs are reported."""

    def __init__(self, reported: list[str]) -> None:
        super().__init__()
        self._reported = reported

    @override
    def report(self, job: Job, exception: BaseException | None = None) -> None:
        self._reported.append(job.id)


class FakeLoads:
    """What is being loaded before processes are forked (`Loads`)."""

    def __init__(self) -> None:
        self._loading: set[str] = set()
        self._call: Callable[[], None] = lambda: None

    def begin(self, job_type: str) -> None:
        self._loading.add(job_type)

    def end(self, job_type: str) -> None:
        self._loading.remove(job_type)
        self._call()

    def is_loading(self, job_type: str) -> bool:
        return job_type in self._loading

    def when_loaded(self, call: Callable[[], None]) -> None:
        self._call = call


class Bench:
    """An engine among fakes. Its loops pause for a turn of the event loop, not for any time."""

    def __init__(self, **limits: Any) -> None:
        self.store = FakeStore()
        self.hub = LocalHub()
        self.executor = FakeExecutor()
        self.loops = Loops(sleep=lambda _seconds: asyncio.sleep(0))
        self.loads = FakeLoads()
        self.failures: list[str] = []
        self.hook = FakeHook(self.failures)
        self.engine: EmbeddedEngine
        self.limits = replace(LIMITS, **limits)

    async def start(self, *handlers: Any) -> None:
        registry = registry_of(*(handlers or (a_handler(),)))
        self.engine = EmbeddedEngine(self.store, self.hub, registry, self.executor, self.limits, self.hook, self.loads)
        await self.engine.start(self.loops)

    def ring(self, bell: Bell, job_id: str) -> None:
        self.hub.ring(bell, job_id)


Make = Callable[..., Bench]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes benches, and stops what runs on them at the end of the test."""
    async with AsyncExitStack() as stack:

        def made(**limits: Any) -> Bench:
            bench = Bench(**limits)
            stack.push_async_callback(bench.loops.stop)
            return bench

        yield made


@pytest.fixture
def bench(make: Make) -> Bench:
    return make()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


def a_handler(name: str = "a-job", **limits: Any) -> Any:
    async def handler(ctx: Context) -> None: ...

    handler.__qualname__ = name
    return job(name, **limits)(handler)


def a_process(name: str, **limits: Any) -> Any:
    def handler(ctx: BlockingContext) -> None: ...

    handler.__qualname__ = name
    return job(name, **limits)(handler)


async def until(condition: Callable[[], object]) -> None:
    """Let the loops turn until something has come about."""
    for _ in range(MANY_TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come about")


async def turn_over() -> None:
    """Let everything that can happen happen."""
    for _ in range(50):
        await asyncio.sleep(0)


# Claiming


async def test_as_many_jobs_run_as_there_are_slots(make: Make) -> None:
    bench = make(max_tasks=2)
    jobs = [a_job() for _ in range(3)]
    bench.store.enqueue(*jobs)
    await bench.start()
    await until(lambda: len(bench.executor.begun) == 2)
    await turn_over()
    assert bench.executor.ids == [jobs[0].id, jobs[1].id]
    bench.executor.end(jobs[0].id)
    await until(lambda: len(bench.executor.begun) == 3)


async def test_a_slot_that_is_left_before_the_end_is_recorded_is_taken_at_once(make: Make) -> None:
    bench = make(max_tasks=1)
    jobs = [a_job() for _ in range(3)]
    bench.store.enqueue(*jobs)
    await bench.start()
    await until(lambda: bench.executor.begun)
    bench.executor.begun[0].slot.leave()
    await until(lambda: len(bench.executor.begun) == 2)
    bench.executor.end(jobs[0].id)  # its slot is not free a second time
    await turn_over()
    assert bench.executor.ids == [jobs[0].id, jobs[1].id]


async def test_a_jobs_next_attempt_may_begin_before_the_end_of_the_last_is_recorded(make: Make) -> None:
    bench = make(max_tasks=1)
    job = a_job()
    bench.store.enqueue(job)
    await bench.start()
    await until(lambda: bench.executor.begun)
    first = bench.executor.begun[0]
    first.slot.leave()
    bench.store.enqueue(job._replace(attempt=2))
    bench.ring(Bell.QUEUED, job.id)
    await until(lambda: len(bench.executor.begun) == 2)
    first.stop(StopReason.TIMEOUT, 0)
    await until(lambda: bench.executor.stopped)
    await turn_over()
    bench.store.jobs[job.id] = job._replace(attempt=2, cancel_requested=True)
    bench.ring(Bell.CANCEL, job.id)
    await until(lambda: len(bench.executor.stopped) == 2)
    assert bench.executor.stopped[1] == (job.id, StopReason.CANCEL)


async def test_tasks_and_processes_do_not_take_each_others_slots(make: Make) -> None:
    bench = make(max_tasks=2, max_processes=1)
    processes = [a_job("process") for _ in range(3)]
    tasks = [a_job("task") for _ in range(3)]
    bench.store.enqueue(*processes, *tasks)
    await bench.start(a_process("process"), a_handler("task"))
    await until(lambda: len(bench.executor.begun) == 3)
    await turn_over()
    assert sorted(bench.executor.types) == ["process", "task", "task"]
    bench.executor.end(tasks[0].id)
    await until(lambda: len(bench.executor.begun) == 4)
    bench.executor.end(processes[0].id)
    await until(lambda: len(bench.executor.begun) == 5)
    assert bench.executor.ids[3:] == [tasks[2].id, processes[1].id]


async def test_one_claim_asks_for_both_kinds(make: Make) -> None:
    bench = make(max_tasks=7, max_processes=3)
    await bench.start(a_process("process"), a_process("rare-process", concurrency=1), a_handler("task", concurrency=9))
    await until(lambda: bench.store.asked_for)
    tasks, processes = bench.store.asked_for[0]
    assert (tasks.total, tasks.of_type) == (7, {"task": 7})
    assert (processes.total, processes.of_type) == (3, {"process": 3, "rare-process": 1})


async def test_a_type_has_no_more_slots_than_it_allows(bench: Bench) -> None:
    first, second = a_job("single"), a_job("single")
    bench.store.enqueue(first, second)
    await bench.start(a_handler("single", concurrency=1), a_handler("other"))
    await until(lambda: bench.executor.begun)
    other = a_job("other")
    bench.store.enqueue(other)
    bench.ring(Bell.QUEUED, other.id)
    await until(lambda: len(bench.executor.begun) == 2)
    assert bench.executor.types == ["single", "other"]
    bench.executor.end(first.id)
    await until(lambda: len(bench.executor.begun) == 3)
    assert bench.executor.ids[-1] == second.id


async def test_one_job_waits_while_something_is_loaded_for_its_type_and_keeps_no_others_out(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CLAIM_AT_LEAST_EVERY_S", 3600.0)  # it is woken
    bench = make(max_processes=3)
    with_model, plain = [a_job("with-a-model") for _ in range(3)], a_job("plain")
    bench.loads.begin("with-a-model")
    bench.store.enqueue(*with_model, plain)
    await bench.start(a_process("with-a-model"), a_process("plain"))
    await until(lambda: len(bench.executor.begun) == 2)
    await turn_over()
    assert bench.executor.ids == [with_model[0].id, plain.id]
    bench.loads.end("with-a-model")
    await until(lambda: len(bench.executor.begun) == 3)


async def test_a_type_that_cannot_run_here_is_not_claimed(bench: Bench) -> None:
    bench.store.enqueue(a_job("other"), a_job())
    await bench.start(a_handler("other", unavailable=lambda: "no such program"), a_handler())
    await until(lambda: bench.executor.begun)
    await turn_over()
    assert bench.executor.types == ["a-job"]
    assert bench.store.asked_for
    assert all("other" not in pool.of_type for pools in bench.store.asked_for for pool in pools)


async def test_a_queued_job_wakes_the_engine(bench: Bench) -> None:
    await bench.start()
    await turn_over()
    new = a_job()
    bench.store.enqueue(new)
    bench.ring(Bell.QUEUED, new.id)
    await until(lambda: bench.executor.begun)


async def test_a_job_is_claimed_when_it_falls_due(bench: Bench) -> None:
    bench.store.next_run_at = utc_now() + timedelta(milliseconds=2)
    await bench.start()
    await turn_over()
    bench.store.enqueue(a_job())
    await until(lambda: bench.executor.begun)


async def test_claiming_goes_on_after_the_store_could_not_be_written(bench: Bench, logged: list[Any]) -> None:
    bench.store.raises["claim"] = [StoreUnavailableError("disk full"), RuntimeError("a bug")]
    bench.store.enqueue(a_job())
    await bench.start()
    await until(lambda: bench.executor.begun)
    assert [entry["loop"] for entry in logged if entry["event"] == "a background loop failed"] == ["engine-claims"] * 2


async def test_a_claim_of_several_begins_them_all_even_if_the_record_cannot_be_read(bench: Bench) -> None:
    bench.store.raises["get"] = [StoreUnavailableError("I/O error")]
    bench.store.enqueue(a_job(), a_job())
    await bench.start()
    await until(lambda: len(bench.executor.begun) == 2)


async def test_an_attempt_that_breaks_the_executor_frees_its_slot(make: Make, logged: list[Any]) -> None:
    bench = make(max_tasks=1)
    bench.executor.error = RuntimeError("a bug")
    first, second = a_job(), a_job()
    bench.store.enqueue(first, second)
    await bench.start()
    await until(lambda: bench.executor.begun)
    bench.executor.end(first.id)
    await until(lambda: len(bench.executor.begun) == 2)
    assert "an attempt ended without a recorded outcome" in [entry["event"] for entry in logged]
    assert bench.loops.failing == []


# Cancels


async def test_a_cancel_stops_the_attempt(bench: Bench) -> None:
    cancelled, other = a_job(), a_job()
    bench.store.enqueue(cancelled, other)
    await bench.start()
    await until(lambda: len(bench.executor.begun) == 2)
    bench.store.jobs[cancelled.id] = cancelled._replace(cancel_requested=True)
    bench.ring(Bell.CANCEL, cancelled.id)
    bench.ring(Bell.CANCEL, "of-another-server")
    await until(lambda: bench.executor.stopped)
    assert bench.executor.stopped == [(cancelled.id, StopReason.CANCEL)]
    assert bench.executor.begun[0].grace_s == LIMITS.cancel_grace_s


async def test_a_cancel_that_came_before_the_attempt_was_registered_is_found(bench: Bench) -> None:
    early = a_job()
    bench.store.enqueue(early)
    bench.store.jobs[early.id] = early._replace(cancel_requested=True)
    await bench.start()
    await until(lambda: bench.executor.stopped)
    assert bench.executor.stopped == [(early.id, StopReason.CANCEL)]


async def test_the_attempt_of_a_deleted_job_is_stopped(bench: Bench) -> None:
    deleted = a_job()
    bench.store.enqueue(deleted)
    await bench.start()
    await until(lambda: bench.executor.begun)
    del bench.store.jobs[deleted.id]
    bench.ring(Bell.CANCEL, deleted.id)
    await until(lambda: bench.executor.stopped)


async def test_a_bell_without_a_cancel_stops_nothing(bench: Bench) -> None:
    running = a_job()
    bench.store.enqueue(running)
    await bench.start()
    await until(lambda: bench.executor.begun)
    bench.ring(Bell.CANCEL, running.id)
    await turn_over()
    assert bench.executor.begun[0].stop_reason is None


# Stopping


async def test_stopping_ends_what_runs_and_claims_no_more(make: Make) -> None:
    bench = make(max_tasks=1)
    running, waiting = a_job(), a_job()
    bench.store.enqueue(running, waiting)
    await bench.start()
    await until(lambda: bench.executor.begun)
    await bench.engine.stop(5.0)
    assert bench.executor.stopped == [(running.id, StopReason.SHUTDOWN)]
    assert bench.executor.ids == [running.id]


async def test_attempts_of_a_claim_in_progress_are_stopped_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    may_claim, claim = asyncio.Event(), bench.store.claim

    async def slow(*arguments: Any) -> Any:
        await may_claim.wait()
        return await claim(*arguments)

    monkeypatch.setattr(bench.store, "claim", slow)
    late = a_job()
    bench.store.enqueue(late)
    await bench.start()
    await turn_over()
    stopping = asyncio.create_task(bench.engine.stop(5.0))
    await turn_over()
    may_claim.set()
    await stopping
    assert bench.executor.stopped == [(late.id, StopReason.SHUTDOWN)]


async def test_a_closed_hub_does_not_keep_the_engine_from_stopping(bench: Bench) -> None:
    bench.store.enqueue(a_job())
    await bench.start()
    await until(lambda: bench.executor.begun)
    bench.hub.close()
    await turn_over()
    await bench.engine.stop(5.0)
    assert len(bench.executor.stopped) == 1
    assert bench.loops.failing == []


# Recovery


async def test_recovery_takes_the_types_own_limits(bench: Bench) -> None:
    await bench.start(a_handler(), a_handler("fragile", on_interrupt="fail"), a_handler("tough", max_recoveries=9))
    assert bench.store.recovered_with == ({"fragile": 0, "tough": 9}, LIMITS.max_recoveries)


async def test_jobs_that_crashed_too_often_are_reported_as_failed(bench: Bench) -> None:
    failed, cancelled = a_job(status=Status.FAILED), a_job(status=Status.CANCELLED)
    bench.store.recovery = Recovery([a_job()], [failed, cancelled])
    await bench.start()
    assert bench.failures == [failed.id]


# Publishing


async def test_progress_is_published(bench: Bench) -> None:
    bench.store.enqueue(a_job())
    await bench.start()
    await until(lambda: bench.executor.begun)
    (attempt,) = bench.executor.begun
    attempt.reported.put((3, 4, None, None, None, None))
    await until(lambda: bench.store.ticks)
    (tick,) = bench.store.ticks
    assert (tick.job_id, tick.attempt, tick.progress.percent) == (attempt.job.id, 1, 75.0)


async def test_log_lines_wait_until_they_can_be_stored(bench: Bench) -> None:
    bench.store.raises["append_logs"] = [StoreUnavailableError("disk full")]
    bench.store.enqueue(a_job())
    await bench.start()
    await until(lambda: bench.executor.begun)
    for text in ("one", "two"):
        bench.executor.begun[0].logs.add("info", text)
    await until(lambda: bench.store.lines)
    assert bench.store.lines == ["one", "two"]
