"""A job as clients see it. After a tick only a part of it is encoded anew, and that must not show."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from headway.domain.jobs import Job, JobError, LiveJob, NewJob, OutputFile, Status
from headway.domain.progress import Progress
from headway.links import Links
from headway.representation import Encoder, job_fields
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LINKS = Links("https://jobs.example")
NAMES = '","progress":1,"queuePosition":2,"updatedAt":"3","completedAt":4,"version":5,"'
"""Text that looks like the parts which a tick changes."""

TEXTS = st.none() | st.sampled_from((NAMES, NAMES[1:], "\\", '"', "50 %b %s", "")) | st.text(max_size=20)
NUMBERS = st.none() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
PROGRESS = st.builds(
    Progress, NUMBERS, NUMBERS, NUMBERS, TEXTS, TEXTS, TEXTS, NUMBERS, st.none() | st.integers(0, 2**40)
)


def a_job(**changed: Any) -> Job:
    new = NewJob(id="one", owner="ada", type="report", input_json="{}", created_at=NOON, run_at=NOON, retain_s=60)
    return Job.queued(new)._replace(status=Status.RUNNING, attempt=1, started_at=NOON, **changed)


def encoded(job: Job, queue_position: int | None = None) -> bytes:
    return to_json(job_fields(job, queue_position, LINKS))


@given(TEXTS, st.lists(PROGRESS, max_size=4))
def test_a_ticked_job_is_encoded_like_any_other(label: str | None, ticks: list[Progress]) -> None:
    names = ("version", "updatedAt", "queuePosition", "progress", "completedAt", "error", "retryOf")
    metadata = tuple((name, NAMES) for name in names)
    encoder, job = Encoder(LINKS), a_job(label=label, retry_of=label, metadata=metadata)
    assert encoder.job(job, None) == encoded(job)
    for number, progress in enumerate(ticks):
        job = job.ticked(progress, NOON + timedelta(milliseconds=number))
        assert encoder.job(job, None) == encoded(job)
        assert encoder.job(job, None) is encoder.job(job, None)


@given(st.lists(PROGRESS, min_size=1, max_size=4), st.integers(0, 4))
def test_a_live_job_is_encoded_as_what_it_is_now(ticks: list[Progress], changed_after: int) -> None:
    encoder, live = Encoder(LINKS), LiveJob(a_job())
    for number, progress in enumerate(ticks):
        if number == changed_after:
            live = LiveJob(live.job._replace(cancel_requested=True, version=live.version + 1))
            assert encoder.live(live) == encoded(live.job)
        before = live.job
        live.tick(progress, NOON + timedelta(milliseconds=number))
        assert encoder.live(live) == encoded(live.job)
        assert encoder.job(before, 3) == encoded(before, 3)
        assert encoder.live(live) == encoded(live.job)
        assert encoder.job(before, None) == encoded(before)
        assert encoder.live(live) == encoded(live.job)
        assert encoder.live(live) is encoder.live(live) is encoder.job(live.job, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"status": Status.COMPLETED, "completed_at": NOON, "result_bytes": 4},
        {"cancel_requested": True},
        {"attempt": 2, "interruptions": 1},
        {"error": JobError("t", NAMES, None, 500), "files": (OutputFile(NAMES, 1, "text/plain"),)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_changes_with_a_tick_is_encoded_too(changed: dict[str, Any]) -> None:
    encoder, job = Encoder(LINKS), a_job()
    encoder.job(job, None)
    for _ in range(2):
        job = job.ticked(Progress(percent=5.0), NOON)._replace(**changed)
        assert encoder.job(job, None) == encoded(job)


def test_a_position_in_the_queue_is_encoded_whatever_ticked() -> None:
    encoder, job = Encoder(LINKS), a_job()
    for position in (None, 3, 2):
        assert encoder.job(job, position) == encoded(job, position)
        job = job.ticked(Progress(percent=5.0), NOON)
        assert encoder.job(job, position) == encoded(job, position)
