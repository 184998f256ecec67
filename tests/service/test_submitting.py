"""Submitting and repeating: what is accepted, what is refused, and that a refusal leaves nothing behind."""

import asyncio
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from headway.authoring.job_types import JobType
from headway.domain.access import EVERY_OWNER, LOCAL_CALLER, Caller
from headway.domain.jobs import Status
from headway.errors import (
    DiskFullError,
    HeadwayError,
    InvalidError,
    JobGoneError,
    JobNotFoundError,
    JobStateError,
    JobTypeNotFoundError,
    JobTypeUnavailableError,
    KeyReusedError,
    QueueFullError,
    StoppingError,
    StoreUnavailableError,
)
from headway.service.submission import Submission
from headway.validation import MAX_LISTED

from tests.support.process import WAIT_TIMEOUT_S

from .conftest import BROKEN, MAX_QUEUED, Rooms, options

ALICE = Caller("alice", "alice")
ADMIN = Caller("admin", EVERY_OWNER)
SOON = datetime(2100, 1, 1, tzinfo=UTC)


def counting(fields: Mapping[str, Any] | None = None, **chosen: Any) -> Submission:
    return Submission("counting", {"words": 3} if fields is None else fields, **chosen)


async def test_a_job_takes_its_types_defaults_and_the_submissions_options(rooms: Rooms) -> None:
    job = await rooms.submit()
    assert (job.status, job.owner, job.retain_s, job.max_attempts, job.timeout_s) == ("queued", "local", 60, 3, 9)
    chosen = options(label="march", priority=5, run_at=SOON, timeout_seconds=1, retain_seconds=2)
    job = await rooms.submit(caller=ALICE, options=chosen)
    assert (job.owner, job.label, job.priority, job.run_at) == ("alice", "march", 5, SOON)
    assert (job.retain_s, job.timeout_s) == (2, 1)
    documents = await rooms.store.documents("alice", job.id)
    assert documents.input_json == '{"words":3}'


@pytest.mark.parametrize("with_key", [False, True])
async def test_a_submission_looks_its_type_up_once(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch, with_key: bool
) -> None:
    job_type, names = rooms.service.admission.job_type, list[str]()

    def noted(name: str) -> JobType:
        names.append(name)
        return job_type(name)

    monkeypatch.setattr(rooms.service.admission, "job_type", noted)
    for submission in (counting(), await rooms.submission_with_file()):
        await rooms.service.submitting.submit(LOCAL_CALLER, submission, submission.type if with_key else None)
    assert names == ["counting", "scanning"]


async def test_a_type_without_a_retention_period_has_the_servers(rooms: Rooms) -> None:
    assert (await rooms.submit("narrow")).retain_s == 3600


async def test_very_many_unknown_fields_are_counted_before_the_input_is_validated(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JobType, "parse_input", lambda *_: pytest.fail("the input was validated"))
    fields = {"words": 3} | {f"k{number}": 1 for number in range(MAX_LISTED + 1)}
    with pytest.raises(InvalidError) as raised:
        await rooms.service.submitting.submit(ALICE, counting(fields, pointer="/input"))
    assert raised.value.errors == [("/input", "has 1,001 unknown fields, which are too many to list")]


@pytest.mark.parametrize("pointer", ["", "/input"])
async def test_the_pointers_of_errors_begin_where_the_input_stands(rooms: Rooms, pointer: str) -> None:
    with pytest.raises(InvalidError) as raised:
        await rooms.service.submitting.submit(LOCAL_CALLER, counting({"words": "x", "label": 1}, pointer=pointer))
    assert [where for where, _ in raised.value.errors] == [f"{pointer}/words", f"{pointer}/label"]


@pytest.mark.parametrize(
    ("submission", "error"),
    [
        (Submission("unknown", {}), JobTypeNotFoundError),
        (Submission("broken-here", {}), JobTypeUnavailableError),
        (counting({}), InvalidError),
        (Submission("scanning", {}), InvalidError),
        (Submission("scanning", {"document": "hello"}), InvalidError),
        (counting(options=options(webhook_events=["job.failed"])), InvalidError),
        (counting(options=options(webhook_url="http://127.0.0.1/")), InvalidError),
    ],
)
async def test_what_cannot_run_is_refused(rooms: Rooms, submission: Submission, error: type[HeadwayError]) -> None:
    with pytest.raises(error):
        await rooms.service.submitting.submit(LOCAL_CALLER, submission)
    assert (await rooms.store.counts(EVERY_OWNER)).by_type == {}


async def test_an_uploaded_file_is_in_place_before_the_job_is_accepted(rooms: Rooms) -> None:
    submission = await rooms.submission_with_file("hello")
    accepted = await rooms.service.submitting.submit(LOCAL_CALLER, submission)
    assert rooms.files.input(accepted.job.id, "document").read_text() == "hello"
    assert [file.filename for file in accepted.job.uploads] == ["notes.txt"]
    assert submission.incoming is not None
    assert not submission.incoming.exists()


async def test_a_refused_job_leaves_no_files(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise StoreUnavailableError("the disk is gone")

    submission = await rooms.submission_with_file()
    monkeypatch.setattr(rooms.store, "insert", refuse)
    with pytest.raises(StoreUnavailableError):
        await rooms.service.submitting.submit(LOCAL_CALLER, submission)
    assert list(rooms.files.job_ids()) == []


async def test_files_that_cannot_be_placed_are_a_store_that_cannot_be_written(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    submission = await rooms.submission_with_file()
    monkeypatch.setattr(rooms.files, "accept_incoming", full)
    with pytest.raises(StoreUnavailableError, match="No space left"):
        await rooms.service.submitting.submit(LOCAL_CALLER, submission)
    assert (await rooms.store.counts(EVERY_OWNER)).by_type == {}
    assert list(rooms.files.job_ids()) == []


async def test_a_submission_that_is_abandoned_while_its_files_are_placed_leaves_none(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = asyncio.Event(), threading.Event()
    place, loop = rooms.files.accept_incoming, asyncio.get_running_loop()

    def place_slowly(incoming: Path, job_id: str) -> None:
        loop.call_soon_threadsafe(begun.set)
        may_end.wait(WAIT_TIMEOUT_S)
        place(incoming, job_id)

    submission = await rooms.submission_with_file()
    monkeypatch.setattr(rooms.files, "accept_incoming", place_slowly)
    submitting = asyncio.create_task(rooms.service.submitting.submit(LOCAL_CALLER, submission))
    await begun.wait()
    submitting.cancel()
    loop.call_soon(may_end.set)
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert submission.incoming is not None
    async with asyncio.timeout(WAIT_TIMEOUT_S):
        while submission.incoming.exists():  # noqa: ASYNC110 - the thread goes on by itself
            await asyncio.sleep(0.001)
    assert list(rooms.files.job_ids()) == []
    assert (await rooms.store.counts(EVERY_OWNER)).by_type == {}


async def test_a_stopping_server_and_a_full_disk_take_no_jobs(rooms: Rooms) -> None:
    admission = rooms.service.admission
    admission._min_free_bytes = 2**60
    with pytest.raises(DiskFullError):
        await rooms.submit()
    admission._min_free_bytes = 0
    admission.check(LOCAL_CALLER, "counting", 2**60)
    admission.stopping = True
    with pytest.raises(StoppingError):
        admission.check(LOCAL_CALLER, "counting")
    with pytest.raises(StoppingError):
        await rooms.submit()


async def test_a_full_queue_is_known_before_a_body_is_read(rooms: Rooms) -> None:
    await rooms.submit("narrow")
    with pytest.raises(QueueFullError):
        rooms.service.admission.check(LOCAL_CALLER, "narrow")
    for _ in range(MAX_QUEUED - 1):
        rooms.service.admission.check(LOCAL_CALLER, "counting")
        await rooms.submit()
    with pytest.raises(QueueFullError):
        rooms.service.admission.check(LOCAL_CALLER, "counting")


# Idempotency keys


async def test_a_repeated_submission_is_the_first_job(rooms: Rooms) -> None:
    submitting = rooms.service.submitting
    first = await submitting.submit(LOCAL_CALLER, counting(), "k")
    again = await submitting.submit(LOCAL_CALLER, counting(pointer="/input"), "k")
    assert (first.replayed, again.replayed, again.job.id) == (False, True, first.job.id)
    known = await submitting.first_with(LOCAL_CALLER, "k")
    assert known is not None
    assert known.job_id == first.job.id
    assert await submitting.first_with(ALICE, "k") is None
    other = await submitting.submit(ALICE, counting(), "k")
    assert (other.replayed, other.job.owner) == (False, "alice")


@pytest.mark.parametrize(
    "other",
    [
        counting({"words": 4}),
        counting(options=options(priority=1)),
        Submission("narrow", {}),
    ],
)
async def test_another_request_with_the_same_key_is_refused(rooms: Rooms, other: Submission) -> None:
    await rooms.service.submitting.submit(LOCAL_CALLER, counting(), "k")
    with pytest.raises(KeyReusedError):
        await rooms.service.submitting.submit(LOCAL_CALLER, other, "k")


async def test_files_count_by_their_sums(rooms: Rooms) -> None:
    submitting = rooms.service.submitting
    first = await submitting.submit(LOCAL_CALLER, await rooms.submission_with_file(sums="a"), "k")
    again = (await rooms.submission_with_file(sums="a"))._replace(incoming=None)
    assert (await submitting.submit(LOCAL_CALLER, again, "k")).job.id == first.job.id
    with pytest.raises(KeyReusedError):
        await submitting.submit(LOCAL_CALLER, await rooms.submission_with_file(sums="b"), "k")


async def test_a_repetition_is_answered_where_a_new_job_would_be_refused(rooms: Rooms) -> None:
    submitting = rooms.service.submitting
    first = await submitting.submit(LOCAL_CALLER, counting(), "k")
    rooms.service.admission.stopping = True
    assert (await submitting.submit(LOCAL_CALLER, counting(), "k")).job.id == first.job.id


async def test_the_key_of_a_deleted_job_stays_taken(rooms: Rooms) -> None:
    first = await rooms.service.submitting.submit(LOCAL_CALLER, counting(), "k")
    await rooms.service.cancelling.delete(LOCAL_CALLER, first.job.id)
    with pytest.raises(JobGoneError):
        await rooms.service.submitting.submit(LOCAL_CALLER, counting(), "k")


async def test_of_simultaneous_submissions_one_is_accepted_and_the_others_leave_no_files(rooms: Rooms) -> None:
    submissions = [await rooms.submission_with_file() for _ in range(4)]
    submit = rooms.service.submitting.submit
    accepted = await asyncio.gather(*(submit(LOCAL_CALLER, each, "k") for each in submissions))
    assert len({each.job.id for each in accepted}) == 1
    assert sorted(each.replayed for each in accepted) == [False, True, True, True]
    assert list(rooms.files.job_ids()) == [accepted[0].job.id]


async def test_simultaneous_submissions_with_one_key_take_one_place_in_the_queue(rooms: Rooms) -> None:
    submit = rooms.service.submitting.submit
    accepted = await asyncio.gather(*(submit(LOCAL_CALLER, Submission("narrow", {}), "k") for _ in range(4)))
    assert len({each.job.id for each in accepted}) == 1


# Repeating


async def test_a_failed_job_is_repeated_with_its_inputs_for_its_owner(rooms: Rooms) -> None:
    accepted = await rooms.service.submitting.submit(ALICE, await rooms.submission_with_file("hello"))
    with pytest.raises(JobStateError):
        await rooms.service.repeating.repeat(ALICE, accepted.job.id)
    await rooms.end(accepted.job, BROKEN)
    repeated = (await rooms.service.repeating.repeat(ADMIN, accepted.job.id)).job
    assert (repeated.retry_of, repeated.owner, repeated.status) == (accepted.job.id, "alice", Status.QUEUED)
    assert rooms.files.input(repeated.id, "document").read_text() == "hello"


async def test_a_completed_job_is_repeated_too(rooms: Rooms) -> None:
    job = await rooms.submit()
    await rooms.end(job)
    assert (await rooms.service.repeating.repeat(LOCAL_CALLER, job.id)).job.retry_of == job.id


async def test_a_repetition_with_a_key_happens_once_whatever_becomes_of_the_job(rooms: Rooms) -> None:
    job = await rooms.submit()
    await rooms.end(job, BROKEN)
    repeat = rooms.service.repeating.repeat
    first = await repeat(LOCAL_CALLER, job.id, "r")
    await rooms.service.cancelling.delete(LOCAL_CALLER, job.id)
    again = await repeat(LOCAL_CALLER, job.id, "r")
    assert (again.replayed, again.job.id) == (True, first.job.id)
    with pytest.raises(JobNotFoundError):
        await repeat(LOCAL_CALLER, job.id)
