"""What a record holds when it is reopened, after an orderly close and after `kill -9`."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from headway.backends.bells import LocalHub
from headway.backends.sqlite.record import SqliteRecord
from headway.domain.filters import JobFilter
from headway.domain.jobs import Status
from headway.domain.outcomes import Completed
from headway.domain.progress import Progress
from headway.errors import JobNotFoundError
from headway.ports.events import Bell

from tests.conformance.backends import BODY_OF, Backend
from tests.conformance.records import (
    BROKEN,
    DONE,
    OWNER,
    UNKNOWN_ID,
    at,
    claim_one,
    claim_up_to,
    ended_job,
    finish,
    new_job,
    running_job,
    tick,
    write_log,
)


@pytest.fixture(params=["close", "crash"])
def leave(request: pytest.FixtureRequest) -> str:
    """The two ways in which a server can leave its record."""
    return str(request.param)


async def reopened(backend: Backend, leave: str) -> None:
    await (backend.close() if leave == "close" else backend.crash())
    await backend.open()


async def test_everything_that_was_acknowledged_is_there(backend: Backend, leave: str) -> None:
    store = backend.store
    jobs = [
        await store.insert(new_job(label="ü", run_at=at(99), priority=4)),
        await ended_job(store, DONE, type="a"),
        await ended_job(store, BROKEN, type="b"),
        await running_job(store, type="c"),
        await ended_job(store, Completed("1", result_url="/api/todos/7"), type="e"),
    ]
    gone = await ended_job(store, DONE, type="d")
    await store.delete(OWNER, gone.id, at(2))
    await write_log(store, jobs[3], "three", "four")
    jobs[3] = await store.get(OWNER, jobs[3].id)
    await reopened(backend, leave)
    store = backend.store
    assert [await store.get(OWNER, job.id) for job in jobs] == jobs
    assert [job.id for job in (await store.page(OWNER, JobFilter(), 9, None)).jobs] == [job.id for job in jobs[::-1]]
    assert (await store.documents(OWNER, jobs[1].id)).result_json == '{"answer":42}'
    assert [said.message for said in await store.logs(jobs[3].id, 0, 99, 99)] == ["three", "four"]
    with pytest.raises(JobNotFoundError):
        await store.get(OWNER, gone.id)
    assert store.median_run_s("a") == 1


async def test_running_jobs_are_queued_again(backend: Backend, leave: str) -> None:
    job = await running_job(backend.store, timeout_s=5.0)
    for percent in (10.0, 20.0, 30.0):
        await tick(backend.store, job, percent)
    await backend.store.checkpoint(job.id, 1, '{"row":7}')
    seen = await backend.store.get(OWNER, job.id)
    await reopened(backend, leave)
    queued = backend.hub.listen(Bell.QUEUED)
    recovery = await backend.store.recover(at(60), 3)
    (requeued,) = recovery.requeued
    assert recovery.ended == []
    assert (requeued.id, requeued.status, requeued.progress.percent) == (job.id, Status.QUEUED, None)
    assert (requeued.recoveries, requeued.interruptions, requeued.failures) == (1, 1, 0)
    assert requeued.version > seen.version
    assert requeued.version >= 1_000
    assert await queued.wait(5) == {job.id}
    assert await backend.store.get(OWNER, job.id) == requeued
    lines = await backend.store.logs(job.id, 0, 99, 99)
    assert [(said.seq, said.level) for said in lines] == [(3, "warning")]
    claim = await claim_one(backend.store, 61)
    assert (claim.job.attempt, claim.checkpoint_json) == (2, '{"row":7}')


async def test_a_job_that_crashes_too_often_fails(backend: Backend) -> None:
    job = await running_job(backend.store)
    for round_ in range(2):
        await reopened(backend, "crash")
        assert len((await backend.store.recover(at(60), 2)).requeued) == 1
        assert (await claim_one(backend.store, 60)).job.attempt == round_ + 2
    await reopened(backend, "crash")
    recovery = await backend.store.recover(at(99), 2)
    (ended,) = recovery.ended
    assert recovery.requeued == []
    assert (ended.id, ended.status, ended.completed_at) == (job.id, Status.FAILED, at(99))
    assert ended.error is not None
    assert ended.error.type == "interrupted"
    assert (ended.failures, ended.recoveries) == (0, 3)
    assert await backend.store.get(OWNER, job.id) == ended


async def test_a_type_may_have_its_own_limit_of_recoveries(backend: Backend) -> None:
    jobs = [await running_job(backend.store, type=name) for name in ("never", "usual", "often")]
    for round_ in range(3):
        await reopened(backend, "crash")
        await backend.store.recover(at(60), 1, {"never": 0, "often": 2})
        now = [(await backend.store.get(OWNER, job.id)).status for job in jobs]
        expected = [round_ < limit for limit in (0, 1, 2)]
        assert [status is Status.QUEUED for status in now] == expected
        await claim_up_to(backend.store, {"never": 1, "usual": 1, "often": 1}, 3, seconds=60)


async def test_a_job_with_a_recorded_cancel_is_cancelled_by_recovery(backend: Backend, leave: str) -> None:
    job = await running_job(backend.store)
    seen = await backend.store.cancel(OWNER, job.id, at(3))
    await reopened(backend, leave)
    (ended,) = (await backend.store.recover(at(60), 3)).ended
    assert (ended.status, ended.error, ended.completed_at) == (Status.CANCELLED, None, at(60))
    assert ended.version > seen.version
    assert await backend.store.get(OWNER, job.id) == ended


async def test_a_job_with_a_recorded_deletion_is_deleted_by_recovery(backend: Backend, leave: str) -> None:
    job = await running_job(backend.store)
    await write_log(backend.store, job, "three")
    await backend.store.delete(OWNER, job.id, at(3))
    await reopened(backend, leave)
    deleted = backend.hub.listen(Bell.DELETED)
    (ended,) = (await backend.store.recover(at(60), 3)).ended
    assert ended.id == job.id
    assert await deleted.wait(5) == {job.id}
    with pytest.raises(JobNotFoundError):
        await backend.store.get(OWNER, job.id)
    assert backend.store.departed(OWNER, job.id) == ended
    assert await backend.store.logs(job.id, 0, 99, 99) == []
    assert not (await backend.store.counts(OWNER)).by_type


async def test_without_running_jobs_nothing_is_recovered(backend: Backend, leave: str) -> None:
    waiting, ended = await backend.store.insert(new_job()), await ended_job(backend.store, type="a")
    await reopened(backend, leave)
    recovery = await backend.store.recover(at(60), 3)
    assert (recovery.requeued, recovery.ended) == ([], [])
    assert await backend.store.get(OWNER, waiting.id) == waiting
    assert await backend.store.get(OWNER, ended.id) == ended


async def test_versions_never_run_backwards_across_a_crash(backend: Backend) -> None:
    """A client may have seen ticks that never reached the disk."""
    job = await running_job(backend.store)
    for round_ in range(3):
        for percent in range(90):
            await tick(backend.store, job, percent)
        seen = await backend.store.get(OWNER, job.id)
        await reopened(backend, "crash")
        (requeued,) = (await backend.store.recover(at(60), 99)).requeued
        assert requeued.version > seen.version
        job = (await claim_one(backend.store, 60)).job
        assert job.version > requeued.version
        assert job.attempt == round_ + 2


ROOT = Path(__file__).parents[2]

KILLED = """
import asyncio, sys
from pathlib import Path
from headway.backends.bells import LocalHub
from headway.backends.sqlite.record import SqliteRecord
from tests.conformance.backends import BODY_OF
from tests.conformance.records import finish, insert_many, running_job

async def main():
    record = await SqliteRecord.open(Path(sys.argv[1]), LocalHub(), max_queued=100_000, body_of=BODY_OF)
    store = record.store
    while True:
        for job in await insert_many(store, 20, type="waits"):
            print("queued", job.id)
        job = await finish(store, await running_job(store))
        print("completed", job.id, flush=True)

asyncio.run(main())
"""


async def test_everything_acknowledged_before_kill_9_is_there(tmp_path: Path) -> None:
    """For the embedded store only: a real process is killed while it writes."""
    path = tmp_path / "headway.db"
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs in this loop
        [sys.executable, "-c", KILLED, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().split() for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        said += [line.split() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    record = await SqliteRecord.open(path, LocalHub(), max_queued=100_000, body_of=BODY_OF)
    store = record.store
    try:
        answered = [words for words in said if len(words) == 2 and len(words[1]) == len(UNKNOWN_ID)]
        assert len(answered) >= 200
        for status, job_id in answered:
            assert (await store.get(OWNER, job_id)).status == status
        assert (await store.page(OWNER, JobFilter(statuses=frozenset({Status.COMPLETED})), 1, None)).jobs[
            0
        ].progress == Progress(percent=100)
        await finish(store, await running_job(store, 9, type="import"))
    finally:
        await record.close()
