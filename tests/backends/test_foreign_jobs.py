"""Reading another owner's job executes the same statements as reading an unknown one, whatever memory holds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from headway.backends.bells import LocalHub
from headway.backends.sqlite.database import Readers
from headway.backends.sqlite.record import SqliteRecord
from headway.backends.sqlite.rows import Parameters, Row
from headway.backends.sqlite.statements import getting
from headway.backends.sqlite.store import SqliteStore
from headway.domain.access import EVERY_OWNER
from headway.domain.filters import JobFilter
from headway.errors import JobNotFoundError
from headway.links import Links
from headway.loops import Loops
from headway.ports.events import Bell
from headway.representation import Encoder
from headway.web.streams.audience import Member
from headway.web.streams.audiences import Audiences
from headway.web.streams.response import Frame

from tests.conformance.backends import BODY_OF
from tests.conformance.records import DONE, OWNER, STRANGER, UNKNOWN_ID, at, ended_job, new_job, running_job

Asked = list[str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The queries that are executed."""
    statements: Asked = []
    original = Readers.all

    async def noted(self: Readers, sql: str, parameters: Parameters) -> list[Row]:
        statements.append(sql)
        return await original(self, sql, parameters)

    monkeypatch.setattr(Readers, "all", noted)
    return statements


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    record = await SqliteRecord.open(tmp_path / "record.db", LocalHub(), max_queued=100, body_of=BODY_OF)
    yield record.store
    await record.close()


async def test_another_owners_job_in_memory_is_read_like_an_unknown_one(store: SqliteStore, asked: Asked) -> None:
    job = await store.insert(new_job(owner=STRANGER))
    del asked[:]
    await store.get(STRANGER, job.id)
    assert asked == [], "its owner is answered from memory"
    costs = []
    for job_id in (UNKNOWN_ID, job.id):
        with pytest.raises(JobNotFoundError):
            await store.get(OWNER, job_id)
        costs.append(list(asked))
        del asked[:]
    assert costs[0] == costs[1]
    assert len(costs[0]) == 1


async def test_listeners_find_jobs_in_memory_without_a_query_and_no_other_owners(
    store: SqliteStore, asked: Asked
) -> None:
    job = await store.insert(new_job(owner=STRANGER))
    del asked[:]
    assert [store.held(caller, job.id) for caller in (OWNER, STRANGER, EVERY_OWNER)] == [None, job, job]
    assert store.held(EVERY_OWNER, UNKNOWN_ID) is None
    await store.delete(STRANGER, job.id, at(1))
    assert store.held(EVERY_OWNER, job.id) is None
    assert asked == []


async def test_streams_of_many_jobs_do_not_read_other_owners_jobs(store: SqliteStore, asked: Asked) -> None:
    hub = LocalHub()
    audiences = Audiences(store, hub, Encoder(Links("")), tick_s=0)
    audiences.start(Loops())
    theirs = await store.insert(new_job(0, owner=STRANGER))
    own = await store.insert(new_job(1, owner=OWNER))
    frames: asyncio.Queue[bytes] = asyncio.Queue()
    member = Member(Outlet(frames), lambda: None)
    audience = audiences.enter(OWNER, JobFilter(), member)
    member.held = {}
    audiences.join(audience, member)
    del asked[:]
    hub.ring(Bell.CHANGED, theirs.id)
    hub.ring(Bell.CHANGED, own.id)
    assert own.id.encode() in await asyncio.wait_for(frames.get(), 10)
    assert not [sql for sql in asked if sql == getting(OWNER)]
    await audiences.stop()


class Outlet:
    """A stream that keeps what it is sent."""

    def __init__(self, frames: "asyncio.Queue[bytes]") -> None:
        self._frames = frames

    def offer(self, frame: Frame) -> bool:
        self._frames.put_nowait(frame.text)
        return True

    def wake(self) -> None:
        """Nothing is waiting."""


@pytest.mark.parametrize("state", ["queued", "running", "completed"])
async def test_another_owners_job_cannot_be_changed(store: SqliteStore, state: str) -> None:
    job = await store.insert(new_job(owner=STRANGER))
    if state == "running":
        job = await running_job(store, owner=STRANGER, type="import")
    elif state == "completed":
        job = await ended_job(store, DONE, 0.5, owner=STRANGER, type="import")
    for attempt in (store.cancel(OWNER, job.id, at(1)), store.delete(OWNER, job.id, at(1)),
                    store.delete_result(OWNER, job.id, at(1)), store.documents(OWNER, job.id)):  # fmt: skip
        with pytest.raises(JobNotFoundError):
            await attempt
    assert await store.get(STRANGER, job.id) == job
