"""`Attempts.tick`, `flush` and `append_logs`, `Reader.logs` and `log_tail`: what watchers follow."""

import asyncio
import random

import pytest
from headway.domain.jobs import Job, Status
from headway.domain.outcomes import Interrupted
from headway.domain.progress import Progress
from headway.ports.events import Bell, EventHub
from headway.ports.jobs import JobStore, LogBatch, Tick

from tests.conformance.backends import Backend
from tests.conformance.records import (
    DONE,
    OWNER,
    at,
    claim_one,
    finish,
    line,
    new_job,
    running_job,
    tick,
    write_log,
)


async def test_progress_is_visible_at_once(store: JobStore, hub: EventHub) -> None:
    job = await running_job(store)
    changed = hub.listen(Bell.CHANGED, job.id)
    progress = Progress(45.2, 452, 1000.5, "rows", "on it", "two", 12.5, 44)
    await store.tick([Tick(job.id, 1, progress)], at(7))
    now = await store.get(OWNER, job.id)
    assert (now.progress, now.updated_at, now.version) == (progress, at(7), job.version + 1)
    assert now.status is Status.RUNNING
    assert await changed.wait(5) == {job.id}


async def test_progress_is_on_disk_after_a_close(backend: Backend) -> None:
    job = await running_job(backend.store)
    for percent in range(50):
        await tick(backend.store, job, percent)
    before = await backend.store.get(OWNER, job.id)
    await backend.close()
    store = await backend.open()
    after = await store.get(OWNER, job.id)
    assert (after.progress.percent, after.version) == (49.0, before.version)


async def test_flushed_progress_survives_a_crash(backend: Backend) -> None:
    job = await running_job(backend.store)
    progress = Progress(percent=45.2, message="on it")
    await backend.store.tick([Tick(job.id, 1, progress)], at(1))
    await backend.store.flush()
    await backend.store.check_writable()  # recorded after the progress
    await backend.crash()
    store = await backend.open()
    assert (await store.get(OWNER, job.id)).progress == progress


async def test_a_flush_without_new_progress_is_harmless(backend: Backend) -> None:
    job = await running_job(backend.store)
    await backend.store.flush()
    assert await backend.store.get(OWNER, job.id) == job


async def test_progress_keeps_integers_and_floats_apart(backend: Backend) -> None:
    """420 does not become 420.0, and numbers may have 64 bits."""
    job = await running_job(backend.store)
    await backend.store.tick([Tick(job.id, 1, Progress(done=420, total=2**63 - 1, percent=7.5))], at(1))
    ended = await finish(backend.store, job, DONE, 2, Progress(done=420, total=0.25))
    assert (repr(ended.progress.done), repr(ended.progress.total)) == ("420", "0.25")
    await backend.close()
    again = await (await backend.open()).get(OWNER, job.id)
    assert (repr(again.progress.done), repr(again.progress.total)) == ("420", "0.25")


async def test_a_stale_tick_is_skipped_and_the_others_are_published(store: JobStore, hub: EventHub) -> None:
    queued, job = await store.insert(new_job(type="waits")), await running_job(store)
    changed = hub.listen(Bell.CHANGED)
    some = Progress(percent=5.0)
    await store.tick(
        [Tick("nonsense", 1, some), Tick(queued.id, 0, some), Tick(job.id, 2, some), Tick(job.id, 1, some)], at(1)
    )
    assert await changed.wait(5) == {job.id}
    assert (await store.get(OWNER, job.id)).progress == some
    assert await store.get(OWNER, queued.id) == queued


async def test_empty_batches_are_accepted(store: JobStore) -> None:
    await store.tick([], at(1))
    await store.append_logs([])


@pytest.mark.parametrize("seed", range(3))
async def test_versions_only_grow_under_concurrent_writes(store: JobStore, seed: int) -> None:
    """A watcher that reads after every bell never sees an older version, nor one version with two contents."""
    chance = random.Random(seed)
    for _ in range(15):
        job = await running_job(store)
        seen = [job]
        answers: list[Job] = []
        stop = asyncio.Event()

        async def publish(job: Job = job, stop: asyncio.Event = stop) -> None:
            percent = 0.0
            while not stop.is_set():
                percent += 1e-6  # a slow disk gives it hundreds of thousands of turns; 100 is for the end
                await tick(store, job, percent)
                await asyncio.sleep(0)

        async def watch(job: Job = job, seen: list[Job] = seen, stop: asyncio.Event = stop) -> None:
            while not stop.is_set():
                seen.append(await store.get(OWNER, job.id))
                await asyncio.sleep(0)

        loops = [asyncio.create_task(publish()), asyncio.create_task(watch())]
        for step in chance.choices(("cancel", "log", "wait"), k=4):
            if step == "cancel":
                answers.append(await store.cancel(OWNER, job.id, at(1)))
            elif step == "log":
                await write_log(store, job, "a line")
            else:
                await store.check_writable()
        answers.append(await finish(store, job, chance.choice((DONE, Interrupted()))))
        seen.append(await store.get(OWNER, job.id))
        stop.set()
        await asyncio.gather(*loops)
        percents = [now.progress.percent for now in seen if now.progress.percent is not None]
        assert percents == sorted(percents)
        versions = [now.version for now in seen]
        assert versions == sorted(versions)
        assert answers[-1] == seen[-1]
        for answer in answers:
            assert all(
                now == answer for now in seen if now.version == answer.version and now.last_seq == answer.last_seq
            )
        assert all(now.version < answers[-1].version for now in seen if now.status is Status.RUNNING)
        await store.delete(OWNER, job.id, at(9))


async def test_a_tick_during_the_final_commit_does_not_outrun_its_version(backend: Backend) -> None:
    """Ticks during the commit of the end do not raise the published version above the recorded one."""
    for _ in range(10):
        store = backend.store
        job = await running_job(store)
        ending = asyncio.create_task(finish(store, job, DONE))
        while not ending.done():
            await tick(store, job, 5.0)
            await asyncio.sleep(0)
        seen = await store.get(OWNER, job.id)
        await backend.crash()
        recorded = await (await backend.open()).get(OWNER, job.id)
        assert recorded == seen == ending.result()


async def test_log_lines_and_states_are_numbered_without_gaps(store: JobStore) -> None:
    job = await running_job(store)  # queued is 1, running 2
    await write_log(store, job, "three", "four")
    await write_log(store, job, "five")
    waiting = await finish(store, job, Interrupted(), lines=[line("six")])
    assert (waiting.state_seq, waiting.last_seq) == (7, 7)
    again = (await claim_one(store)).job
    assert again.state_seq == 8
    await write_log(store, again, "nine")
    ended = await finish(store, again, lines=[line("ten")])
    assert (ended.state_seq, ended.last_seq) == (11, 11)
    lines = await store.logs(job.id, 0, 11, 100)
    assert [(said.seq, said.message) for said in lines] == [
        (3, "three"),
        (4, "four"),
        (5, "five"),
        (6, "six"),
        (9, "nine"),
        (10, "ten"),
    ]


async def test_a_log_line_is_stored_verbatim(store: JobStore, hub: EventHub) -> None:
    job = await running_job(store)
    changed = hub.listen(Bell.CHANGED, job.id)
    await store.append_logs([LogBatch(job.id, 1, [line("é \U0001f600\n\t'", 3.217, "warning")])])
    (said,) = await store.logs(job.id, 0, 99, 99)
    assert (said.seq, said.at, said.level, said.message) == (3, at(3.217), "warning", "é \U0001f600\n\t'")
    assert await changed.wait(5) == {job.id}
    assert (await store.get(OWNER, job.id)).last_seq == 3


async def test_a_log_can_be_read_in_windows(store: JobStore) -> None:
    job = await running_job(store)
    await write_log(store, job, *(f"line {seq}" for seq in range(3, 103)))

    async def window(after: int, up_to: int, limit: int) -> list[int]:
        return [said.seq for said in await store.logs(job.id, after, up_to, limit)]

    async def tail(up_to: int, limit: int) -> list[int]:
        return [said.seq for said in await store.log_tail(job.id, up_to, limit)]

    assert await window(0, 102, 3) == [3, 4, 5]
    assert await window(5, 102, 3) == [6, 7, 8]
    assert await window(99, 101, 10) == [100, 101]
    assert await window(102, 102, 10) == []
    assert await window(50, 40, 10) == []
    assert await window(0, 10_000, 10_000) == list(range(3, 103))
    assert await tail(102, 3) == [100, 101, 102]
    assert await tail(50, 2) == [49, 50]
    assert await tail(2, 5) == []
    assert await tail(10_000, 10_000) == list(range(3, 103))


async def test_lines_of_concurrent_writers_are_each_numbered_once(store: JobStore) -> None:
    jobs = [await running_job(store) for _ in range(5)]
    await asyncio.gather(*(write_log(store, job, f"{n}a", f"{n}b") for n in range(20) for job in jobs))
    for job in jobs:
        lines = await store.logs(job.id, 0, 1_000, 1_000)
        assert [said.seq for said in lines] == list(range(3, 43))
        assert [said.message for said in lines] == [f"{n}{half}" for n in range(20) for half in "ab"]
        assert (await store.get(OWNER, job.id)).last_seq == 42
