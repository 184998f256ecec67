"""`Loops`: background loops that survive their own failures, end no other, and report when they keep failing."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from headway.errors import StoreUnavailableError
from headway.loops import FAILING_AFTER, FIRST_BACKOFF_S, LONGEST_BACKOFF_S, Loop, Loops


class Sleeps:
    """A clock that is never waited for: each sleep lasts until the test lets it pass."""

    def __init__(self) -> None:
        self.taken_s: list[float] = []
        self._asleep: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def __call__(self, seconds: float) -> None:
        self.taken_s.append(seconds)
        awake = asyncio.Event()
        self._asleep.put_nowait(awake)
        await awake.wait()

    async def next_turn(self) -> None:
        """Let one turn run, once the loop has got as far as its sleep."""
        async with asyncio.timeout(30):
            (await self._asleep.get()).set()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Turns:
    """A turn that fails as often as it is told to."""

    def __init__(self, *errors: Exception | None, pause_s: float | None = None) -> None:
        self._errors = list(errors)
        self._pause_s = pause_s
        self.count = 0

    async def __call__(self) -> float | None:
        self.count += 1
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        return self._pause_s


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps()


@pytest.fixture
def loops(sleeps: Sleeps) -> Loops:
    return Loops(sleep=sleeps)


async def run(loops: Loops, sleeps: Sleeps, turn: Callable[[], Awaitable[float | None]], turns: int) -> Loop:
    loop = loops.start("under test", turn)
    await settle()
    for _ in range(turns - 1):
        await sleeps.next_turn()
    return loop


async def test_a_loop_sleeps_for_what_its_turn_returns(loops: Loops, sleeps: Sleeps) -> None:
    turns = Turns(pause_s=3.0)
    await run(loops, sleeps, turns, 3)
    assert (turns.count, sleeps.taken_s) == (3, [3.0, 3.0, 3.0])
    await loops.stop()


async def test_a_turn_that_never_waits_lets_others_run(loops: Loops, sleeps: Sleeps) -> None:
    await run(loops, sleeps, Turns(), 2)
    assert sleeps.taken_s == [0.0, 0.0]
    await loops.stop()


async def test_the_back_off_grows_to_a_limit_and_is_forgotten_after_a_success(loops: Loops, sleeps: Sleeps) -> None:
    failures: list[Exception | None] = [RuntimeError("x")] * 6
    await run(loops, sleeps, Turns(*failures, None, RuntimeError("again")), 8)
    grown = [FIRST_BACKOFF_S, 2 * FIRST_BACKOFF_S, 4 * FIRST_BACKOFF_S, 8 * FIRST_BACKOFF_S]
    assert sleeps.taken_s == [*grown, LONGEST_BACKOFF_S, LONGEST_BACKOFF_S, 0.0, FIRST_BACKOFF_S]
    await loops.stop()


async def test_one_loops_failures_do_not_touch_the_others(loops: Loops, sleeps: Sleeps) -> None:
    healthy = Turns(pause_s=1.0)
    loops.start("healthy", healthy)
    await run(loops, sleeps, Turns(*[RuntimeError("x")] * 20), 1)
    for _ in range(20):
        await sleeps.next_turn()
    assert healthy.count == 11
    assert [failing.name for failing in loops.failing] == ["under test"]
    await loops.stop()


async def test_a_loop_that_keeps_failing_is_reported_with_its_name_and_reason_until_it_recovers(
    loops: Loops, sleeps: Sleeps
) -> None:
    failures: list[Exception | None] = [StoreUnavailableError("the disk is full")] * FAILING_AFTER
    await run(loops, sleeps, Turns(*failures), FAILING_AFTER - 1)
    assert loops.failing == []
    await sleeps.next_turn()
    (failing,) = loops.failing
    assert failing.name == "under test"
    assert failing.reason == "The background loop 'under test' failed 5 times in a row: the disk is full"
    await sleeps.next_turn()
    assert loops.failing == []
    await loops.stop()


async def test_the_text_of_an_unexpected_error_stays_in_the_log(
    loops: Loops, sleeps: Sleeps, capsys: pytest.CaptureFixture[str]
) -> None:
    await run(loops, sleeps, Turns(*[RuntimeError("password=hunter2")] * FAILING_AFTER), FAILING_AFTER)
    assert loops.failing[0].reason.endswith("RuntimeError, see the log.")
    await loops.stop()
    printed = "".join(capsys.readouterr())
    assert "hunter2" in printed
    assert "under test" in printed


async def test_a_loop_that_is_ended_from_outside_is_reported(loops: Loops, sleeps: Sleeps) -> None:
    await run(loops, sleeps, Turns(), 1)
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "under test")
    task.cancel()
    await settle()
    assert "has ended" in loops.failing[0].reason
    await loops.stop()


async def test_a_turn_that_is_cancelled_is_not_swallowed(loops: Loops, sleeps: Sleeps) -> None:
    turns = 0

    async def cancelled() -> None:
        nonlocal turns
        turns += 1
        raise asyncio.CancelledError

    await run(loops, sleeps, cancelled, 1)
    assert turns == 1
    assert len(loops.failing) == 1
    await loops.stop()


async def test_a_loop_ends_by_itself_when_it_is_told_until_when(loops: Loops, sleeps: Sleeps) -> None:
    closed = False
    turns = Turns()
    loops.start("short", turns, until=lambda: closed)
    await settle()
    closed = True
    await sleeps.next_turn()
    assert "short" not in {task.get_name() for task in asyncio.all_tasks()}
    assert turns.count == 1
    assert loops.failing == []
    await loops.stop()


async def test_a_stopped_loop_is_not_failing_and_leaves_no_task(loops: Loops, sleeps: Sleeps) -> None:
    loop = await run(loops, sleeps, Turns(*[RuntimeError("x")] * FAILING_AFTER), FAILING_AFTER)
    waits = loop.spawn("its work", asyncio.sleep(3600))
    await loop.stop()
    assert waits.cancelled()
    assert loops.failing == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_work_that_fails_is_logged_and_ends_no_loop(
    loops: Loops, sleeps: Sleeps, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fails() -> None:
        raise RuntimeError("of the work")

    turns = Turns()
    loop = await run(loops, sleeps, turns, 1)
    loop.spawn("its work", fails())
    await settle()
    await sleeps.next_turn()
    assert turns.count == 2
    await loops.stop()
    assert "of the work" in "".join(capsys.readouterr())


async def test_stopping_does_not_wait_for_work_that_swallows_its_cancellation(
    loops: Loops, sleeps: Sleeps, capsys: pytest.CaptureFixture[str]
) -> None:
    let_go = asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    loop = await run(loops, sleeps, Turns(), 1)
    work = loop.spawn("stubborn", stubborn())
    await settle()
    await loop.stop(within_s=0)
    assert "stubborn" in "".join(capsys.readouterr())
    let_go.set()
    await work
