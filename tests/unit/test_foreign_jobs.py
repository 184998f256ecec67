"""The 404 of another owner's job costs what that of an unknown one does: the same statements, whatever memory holds."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.errors import JobNotFoundError
from server.hub import LocalHub
from server.sqlite.readers import Readers
from server.sqlite.rows import Parameters, Row
from server.sqlite.store import SqliteStore
from tests.conformance.backends import BODY_OF
from tests.conformance.records import DONE, OWNER, STRANGER, UNKNOWN_ID, at, ended_job, new_job, running_job

Asked = list[str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The statements that are read."""
    statements: Asked = []
    original = Readers.all

    async def noted(self: Readers, sql: str, parameters: Parameters) -> list[Row]:
        statements.append(sql)
        return await original(self, sql, parameters)

    monkeypatch.setattr(Readers, "all", noted)
    return statements


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "record.db", LocalHub(), max_queued=100, body_of=BODY_OF)
    yield opened
    await opened.close()


async def test_a_foreign_job_in_memory_is_looked_for_like_an_unknown_one(store: SqliteStore, asked: Asked) -> None:
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


@pytest.mark.parametrize("state", ["queued", "running", "completed"])
async def test_nothing_can_be_done_to_a_foreign_job(store: SqliteStore, state: str) -> None:
    job = await store.insert(new_job(owner=STRANGER))
    if state == "running":
        job = await running_job(store, owner=STRANGER, type="import")
    elif state == "completed":
        job = await ended_job(store, DONE, 0.5, owner=STRANGER, type="import")
    for attempt in (store.request_cancel(OWNER, job.id, at(1)), store.request_cancel(OWNER, job.id, at(1), purge=True),
                    store.delete_result(OWNER, job.id, at(1)), store.documents(OWNER, job.id)):  # fmt: skip
        with pytest.raises(JobNotFoundError):
            await attempt
    assert await store.get(STRANGER, job.id) == job
