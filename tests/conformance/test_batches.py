"""`Submissions.insert_batch`: many jobs in one step, each recorded or refused by itself."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from headway.domain.audit import Action, Actor, ActorKind, EntryFilter
from headway.domain.idempotency import FirstSubmission
from headway.domain.jobs import NewJob, Status
from headway.errors import OwnerQueueFullError, QueueFullError, StorageQuotaExceededError
from headway.ports.events import Bell, EventHub
from headway.ports.jobs import JobStore, Refusal
from headway.quotas import Quota

from tests.conformance.backends import Backend
from tests.conformance.records import OWNER, at, claim_up_to, insert_many, new_job
from tests.conformance.test_submitting_once import KEPT_S, key, queued


class Told:
    """Makes text of outcomes, and keeps them."""

    def __init__(self) -> None:
        self.refusals: list[Refusal | None] = []

    def __call__(self, refusals: Sequence[Refusal | None]) -> str:
        self.refusals += refusals
        return "".join("1" if refusal is None else "0" for refusal in refusals)

    @property
    def types(self) -> list[type]:
        return [type(refusal) for refusal in self.refusals if refusal is not None]


def jobs(count: int, **chosen: Any) -> list[tuple[NewJob, int | None]]:
    return [(new_job(**chosen), None) for _ in range(count)]


async def test_the_jobs_of_a_batch_are_jobs_like_any_other(store: JobStore, hub: EventHub) -> None:
    bells = hub.listen(Bell.QUEUED)
    batch = [*jobs(2, label="early"), *jobs(1, type="export", priority=9), *jobs(1, run_at=at(60))]
    ids = [new.id for new, _ in batch]
    assert await store.insert_batch(batch, Told()) == "1111"
    assert await bells.wait(5) == set(ids)
    for new, _ in batch:
        job = await store.get(OWNER, new.id)
        assert (job.status, job.label, job.type, job.priority, job.run_at) == (
            Status.QUEUED, new.label, new.type, new.priority, new.run_at,
        )  # fmt: skip
    claims = (await claim_up_to(store, {"report": 9, "export": 9}, 9, seconds=1)).claims
    assert {claim.job.id for claim in claims} == set(ids[:3])
    assert [claim.job.id for claim in claims if claim.job.type == "report"] == ids[:2]


async def test_a_thousand_jobs_are_all_there_after_a_crash(backend: Backend) -> None:
    batch = jobs(1000)
    assert await backend.store.insert_batch(batch, Told(), key()) == "1" * 1000
    await backend.crash()
    store = await backend.open()
    assert await store.existing([new.id for new, _ in batch]) == {new.id for new, _ in batch}
    assert await queued(store) == 1000
    assert await store.first_with_key(OWNER, "k", at(1)) == FirstSubmission("", "f", "1" * 1000)


async def test_a_batch_that_cannot_be_written_leaves_nothing(store: JobStore) -> None:
    (taken,) = await insert_many(store, 1)
    batch = [*jobs(3), (new_job()._replace(id=taken.id), None)]
    with pytest.raises(Exception, match="UNIQUE"):
        await store.insert_batch(batch, Told(), key())
    assert await queued(store) == 1
    assert await store.first_with_key(OWNER, "k", at(1)) is None


async def test_each_job_has_room_or_is_refused(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(max_queued=5)
    await insert_many(store, 1)
    narrow = [(new_job(type="narrow"), 1) for _ in range(2)]
    told = Told()
    assert await store.insert_batch([*narrow, *jobs(5)], told) == "1011100"
    assert told.types == [QueueFullError] * 3
    assert await queued(store) == 5
    with pytest.raises(QueueFullError):
        store.check_room(OWNER, "report")


async def test_room_is_held_while_batches_are_on_their_way(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(max_queued=100, max_queued_per_owner=5)
    told = [Told(), Told()]
    answers = await asyncio.gather(*(store.insert_batch(jobs(3, owner="ann"), each) for each in told))
    assert answers == ["111", "110"]
    assert told[1].types == [OwnerQueueFullError]
    await store.insert(new_job(owner="bob"))


async def test_room_is_given_back_if_the_outcomes_cannot_be_encoded(backend: Backend) -> None:
    def fails(_: Sequence[Refusal | None]) -> str:
        raise ZeroDivisionError

    await backend.close()
    store = await backend.open(max_queued=2)
    with pytest.raises(ZeroDivisionError):
        await store.insert_batch(jobs(2), fails)
    assert await store.insert_batch(jobs(2), Told()) == "11"


async def test_a_quota_takes_as_many_jobs_of_a_batch_as_fit(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(quota=Quota(bytes=25))
    told = Told()
    large = {"input_json": '{"a":"aaaa"}'}
    assert await store.insert_batch([*jobs(1), *jobs(2, **large), *jobs(1)], told) == "1101"
    assert told.types == [StorageQuotaExceededError]
    assert store.account(OWNER).used[:2] == (3, 16)
    await store.insert(new_job(input_json='{"a":1}'))


async def test_a_repeat_is_told_the_first_outcomes(store: JobStore) -> None:
    assert await store.insert_batch([*jobs(1), (new_job(type="narrow"), 0)], Told(), key()) == "10"
    first = FirstSubmission("", "f", "10")
    assert await store.insert_batch(jobs(3), Told(), key(seconds=1)) == first
    assert await store.insert(new_job(1), key=key(seconds=1)) == first
    assert await store.first_with_key(OWNER, "k", at(KEPT_S)) is None
    assert await queued(store) == 1


async def test_of_simultaneous_batches_with_one_key_one_is_accepted(store: JobStore) -> None:
    answers = await asyncio.gather(*(store.insert_batch(jobs(4), Told(), key()) for _ in range(8)))
    assert answers.count("1111") == 1
    assert answers.count(FirstSubmission("", "f", "1111")) == 7
    assert await queued(store) == 4


async def test_a_batch_without_an_accepted_job_leaves_its_key_unused(store: JobStore) -> None:
    assert await store.insert_batch([(new_job(type="narrow"), 0)], Told(), key()) == "0"
    assert await store.first_with_key(OWNER, "k", at(0)) is None


async def test_each_job_of_a_batch_has_an_entry_in_the_audit_trail(backend: Backend) -> None:
    ann = Actor(ActorKind.KEY, OWNER, "key-1", "192.0.2.1", "request-1")
    batch = [*jobs(2, by=ann, key_id="key-1"), (new_job(type="narrow", by=ann, key_id="key-1"), 0)]
    await backend.store.insert_batch(batch, Told())
    entries = [recorded.entry for recorded in await backend.audit.newest(EntryFilter(), 10)]
    assert {(entry.action, entry.subject, entry.actor.key_id) for entry in entries} == {
        (Action.SUBMIT, new.id, "key-1") for new, _ in batch[:2]
    }
    assert backend.store.account_of_key("key-1").used.jobs == 2
