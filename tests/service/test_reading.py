"""Reading, cancelling, deleting, results: what each caller may see and change."""

from datetime import timedelta

import pytest
from headway.clock import utc_now
from headway.domain.access import EVERY_OWNER, LOCAL_CALLER, Caller
from headway.domain.filters import JobFilter
from headway.domain.jobs import OutputFile, Status
from headway.domain.outcomes import Cancelled, Completed, Interrupted
from headway.errors import (
    DeliveryNotFoundError,
    InvalidError,
    JobHasFailedError,
    JobNotFoundError,
    JobStateError,
    NotFinishedError,
    OutputNotFoundError,
    ResultGoneError,
)

from .conftest import BROKEN, DONE, Rooms, options

ALICE = Caller("alice", "alice")
ADMIN = Caller("admin", EVERY_OWNER)
UNKNOWN = "018f0000-0000-7000-8000-000000000000"
NO_IDS = ["", "..", "a/b", "\0", "018F0000-0000-7000-8000-000000000000", "x" * 8192]


async def test_a_job_is_there_for_its_owner_and_for_admins(rooms: Rooms) -> None:
    job = await rooms.submit(caller=ALICE)
    reading = rooms.service.reading
    assert (await reading.job(ALICE, job.id)).id == (await reading.job(ADMIN, job.id)).id == job.id
    for caller, job_id in [(LOCAL_CALLER, job.id), (ALICE, UNKNOWN), *((ADMIN, odd) for odd in NO_IDS)]:
        with pytest.raises(JobNotFoundError):
            await reading.job(caller, job_id)
        with pytest.raises(JobNotFoundError):
            await rooms.service.cancelling.cancel(caller, job_id)
        with pytest.raises(JobNotFoundError):
            await rooms.service.cancelling.delete(caller, job_id)


async def test_an_expired_job_is_an_unknown_one(rooms: Rooms) -> None:
    job = await rooms.submit(options=options(retain_seconds=30))
    ended = await rooms.end(job)
    assert ended.expires_at is not None
    reading = rooms.service.reading
    assert (await reading.job(LOCAL_CALLER, job.id, ended.expires_at - timedelta(milliseconds=1))).id == job.id
    with pytest.raises(JobNotFoundError):
        await reading.job(LOCAL_CALLER, job.id, ended.expires_at)


async def test_a_job_of_another_type_is_not_found(rooms: Rooms) -> None:
    job = await rooms.submit()
    assert (await rooms.service.reading.job_of_type(LOCAL_CALLER, job.id, "counting")).id == job.id
    with pytest.raises(JobNotFoundError):
        await rooms.service.reading.job_of_type(LOCAL_CALLER, job.id, "scanning")


async def test_an_unknown_cursor_is_refused_by_its_name(rooms: Rooms) -> None:
    with pytest.raises(InvalidError) as raised:
        await rooms.service.reading.page(LOCAL_CALLER, JobFilter(), 10, "nonsense", parameter="pageToken")
    assert raised.value.errors == [("/pageToken", "is not a cursor of this list")]


async def test_a_cancel_is_refused_after_the_end_and_repeated_without_harm(rooms: Rooms) -> None:
    job = await rooms.submit()
    cancelling = rooms.service.cancelling
    assert (await cancelling.cancel(LOCAL_CALLER, job.id)).status is Status.CANCELLED
    assert (await cancelling.cancel(LOCAL_CALLER, job.id)).status is Status.CANCELLED
    done = await rooms.submit()
    await rooms.end(done)
    with pytest.raises(JobStateError):
        await cancelling.cancel(LOCAL_CALLER, done.id)


async def test_only_a_job_that_has_ended_is_deleted_without_a_cancel(rooms: Rooms) -> None:
    job = await rooms.submit()
    cancelling = rooms.service.cancelling
    with pytest.raises(JobStateError):
        await cancelling.delete_ended(LOCAL_CALLER, job.id)
    await rooms.end(job)
    await cancelling.delete_ended(LOCAL_CALLER, job.id)
    with pytest.raises(JobNotFoundError):
        await rooms.service.reading.job(LOCAL_CALLER, job.id)


async def test_a_result_is_there_once_the_job_has_completed(rooms: Rooms) -> None:
    results = rooms.service.results
    job = await rooms.submit()
    with pytest.raises(NotFinishedError) as raised:
        await results.value(job)
    assert raised.value.retry_after_s >= 1
    with pytest.raises(NotFinishedError):
        await results.delete(LOCAL_CALLER, job.id)
    ended = await rooms.end(job)
    assert await results.value(ended) == await results.inline(ended) == b'{"words":3}'
    await results.delete(LOCAL_CALLER, job.id)
    emptied = await rooms.service.reading.job(LOCAL_CALLER, job.id)
    assert await results.inline(emptied) == b"null"
    with pytest.raises(ResultGoneError):
        await results.value(emptied)


async def test_a_long_result_is_not_inlined(rooms: Rooms) -> None:
    ended = await rooms.end(await rooms.submit(), Completed(f'"{"x" * 65_535}"'))
    assert await rooms.service.results.inline(ended) == b"null"
    assert len(await rooms.service.results.value(ended)) == 65_537


async def test_the_reason_for_a_missing_result_is_given(rooms: Rooms) -> None:
    results = rooms.service.results
    with pytest.raises(JobHasFailedError) as raised:
        await results.value(await rooms.end(await rooms.submit(), BROKEN))
    assert raised.value.error == {"type": "no-luck", "title": "No luck", "detail": "none at all", "status": 409}
    job = await rooms.submit()
    with pytest.raises(ResultGoneError):
        await results.value(await rooms.end(job, Cancelled()))


async def test_output_files_are_found_by_name(rooms: Rooms) -> None:
    results = rooms.service.results
    ended = await rooms.end(await rooms.submit(), DONE)
    with pytest.raises(OutputNotFoundError):
        results.download_name(ended, None)
    files = (OutputFile("a.csv", 3, "text/csv"), OutputFile("b.csv", 3, "text/csv"))
    ended = await rooms.end(await rooms.submit(), Completed("1", files))
    assert (results.download_name(ended, None), results.download_name(ended, "b.csv")) == ("a.csv", "b.csv")
    (rooms.files.job(ended.id) / "files").mkdir(parents=True)
    (rooms.files.job(ended.id) / "files" / "b.csv").write_text("b,c")
    file, opened = await results.open_output(ended, "b.csv")
    with opened:
        assert (file, opened.read()) == (files[1], b"b,c")
    for missing in ("a.csv", "../b.csv"):
        with pytest.raises(OutputNotFoundError):
            await results.open_output(ended, missing)


async def test_deliveries_are_those_of_a_job_that_the_caller_sees(rooms: Rooms) -> None:
    job = await rooms.submit(options=options(webhook_url="https://example.com/hook"))
    await rooms.end(job)
    deliveries = rooms.service.deliveries
    found = await deliveries.of_job(LOCAL_CALLER, job.id, 10)
    assert [delivery.event.value for delivery in found] == ["job.completed", "job.started"]
    assert (await deliveries.redeliver(LOCAL_CALLER, job.id, found[0].id)).id == found[0].id
    for delivery_id in (UNKNOWN, *NO_IDS):
        with pytest.raises(DeliveryNotFoundError):
            await deliveries.redeliver(LOCAL_CALLER, job.id, delivery_id)
    with pytest.raises(JobNotFoundError):
        await deliveries.of_job(ALICE, job.id, 10)


async def test_waiting_sees_what_the_caller_sees(rooms: Rooms) -> None:
    job = await rooms.submit()
    with pytest.raises(JobNotFoundError):
        await rooms.service.waiting.until(ALICE, job.id, 0)
    assert (await rooms.service.waiting.until(LOCAL_CALLER, job.id, 0)).id == job.id
    assert job.created_at <= utc_now()


@pytest.mark.parametrize("ended_by", ["cancel", "delete"])
async def test_a_queued_job_that_is_ended_leaves_nothing_of_its_earlier_attempts(rooms: Rooms, ended_by: str) -> None:
    job = await rooms.end(await rooms.submit(), Interrupted())
    assert (job.status, job.attempt) == (Status.QUEUED, 1)
    rooms.files.lock_file(job.id).touch()
    if ended_by == "cancel":  # retention deletes the files of a deleted job
        for name in ("work", "output-1", "files"):
            (rooms.files.job(job.id) / name).mkdir(parents=True)
    await getattr(rooms.service.cancelling, ended_by)(LOCAL_CALLER, job.id)
    assert not rooms.files.has_any(job.id)
    assert not rooms.files.lock_file(job.id).exists()
