"""What memory holds between commits: progress ahead of the disk, counts, and the bells that are rung."""

from datetime import UTC, datetime, timedelta

import pytest
from headway.backends.bells import LocalHub
from headway.backends.memory.census import Census
from headway.backends.memory.mirror import Changed, Mirror
from headway.domain.jobs import Job, NewJob, Status
from headway.domain.progress import Progress
from headway.ports.events import Bell
from headway.ports.jobs import Tick

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON = NOON + timedelta(seconds=1)
QUEUED = Job.queued(NewJob("one", "ada", "report", "{}", NOON, NOON, 60))
RUNNING = QUEUED._replace(status=Status.RUNNING, attempt=1, version=2)
COMPLETED = RUNNING._replace(status=Status.COMPLETED, version=3, started_at=NOON, completed_at=SOON)


@pytest.fixture
def hub() -> LocalHub:
    return LocalHub()


@pytest.fixture
def mirror(hub: LocalHub) -> Mirror:
    made = Mirror(hub, Census(max_queued=10))
    made.accept(QUEUED)
    made.adopt(Changed(Status.QUEUED, RUNNING))
    return made


def tick(percent: float, attempt: int = 1) -> list[Tick]:
    return [Tick("one", attempt, Progress(percent=percent))]


def held(mirror: Mirror) -> Job:
    job = mirror.snapshots.get("one")
    assert job is not None
    return job


def test_a_tick_is_published_before_it_is_written(mirror: Mirror) -> None:
    mirror.tick(tick(30), SOON)
    assert held(mirror) == RUNNING._replace(progress=Progress(percent=30), updated_at=SOON, version=3)
    assert mirror.take_unwritten() == [held(mirror)]
    assert mirror.take_unwritten() == []


def test_progress_that_could_not_be_written_is_written_later(mirror: Mirror) -> None:
    mirror.tick(tick(30), SOON)
    mirror.keep_unwritten(mirror.take_unwritten())
    assert mirror.take_unwritten() == [held(mirror)]


def test_progress_is_taken_in_pieces_and_the_jobs_that_have_waited_come_first(mirror: Mirror) -> None:
    others = [RUNNING._replace(id=job_id) for job_id in ("two", "three")]
    for job in others:
        mirror.snapshots.put(job)
    for job in (RUNNING, *others, RUNNING):
        mirror.tick([Tick(job.id, 1, Progress(percent=30))], SOON)
    assert [[job.id for job in mirror.take_unwritten(2)] for _ in range(3)] == [["one", "two"], ["three"], []]


def test_the_tick_of_a_stale_attempt_is_dropped(mirror: Mirror) -> None:
    mirror.tick(tick(30, attempt=2), SOON)
    assert held(mirror) == RUNNING


def test_a_tick_does_not_overtake_an_end_that_is_being_committed(mirror: Mirror) -> None:
    settled = mirror.ending(RUNNING)
    mirror.tick(tick(30), SOON)
    assert held(mirror) == RUNNING
    settled()
    mirror.tick(tick(40), SOON)
    assert held(mirror).progress.percent == 40


def test_a_commit_keeps_the_progress_that_was_published_meanwhile(mirror: Mirror) -> None:
    mirror.tick(tick(30), SOON)
    marked = mirror.adopt(Changed(Status.RUNNING, RUNNING._replace(cancel_requested=True, version=3)))
    assert (marked.cancel_requested, marked.progress.percent, marked.version) == (True, 30, 4)
    assert mirror.take_unwritten() == [marked]


def test_the_next_attempt_does_not_keep_the_progress_of_the_last(mirror: Mirror) -> None:
    mirror.tick(tick(30), SOON)
    again = RUNNING._replace(attempt=2, version=4)
    assert mirror.adopt(Changed(Status.QUEUED, again)) == again == held(mirror)


def test_an_end_replaces_the_progress_that_was_published(mirror: Mirror) -> None:
    mirror.tick(tick(30), SOON)
    assert mirror.adopt(Changed(Status.RUNNING, COMPLETED)) == COMPLETED == held(mirror)
    assert mirror.take_unwritten() == []


def test_counts_follow_every_change(mirror: Mirror) -> None:
    def count() -> dict[Status, int]:
        return {status: jobs for status, jobs in mirror.census.of("ada").by_type.get("report", {}).items() if jobs}

    assert count() == {Status.RUNNING: 1}
    mirror.adopt(Changed(Status.RUNNING, COMPLETED))
    assert count() == {Status.COMPLETED: 1}
    assert mirror.census.median_run_s("report") == 1
    mirror.adopt(Changed(Status.COMPLETED, COMPLETED, deleted=True))
    assert count() == {}


def test_an_ended_job_that_was_not_changed_is_not_published(mirror: Mirror, hub: LocalHub) -> None:
    mirror.adopt(Changed(Status.RUNNING, COMPLETED))
    changed = hub.listen(Bell.CHANGED)
    assert mirror.adopt(Changed(Status.COMPLETED, COMPLETED)) == COMPLETED
    assert not changed._rung


async def test_each_change_rings_its_bells(mirror: Mirror, hub: LocalHub) -> None:
    listeners = {bell: hub.listen(bell) for bell in (Bell.CHANGED, Bell.QUEUED, Bell.DELETED)}

    async def rung() -> set[Bell]:
        return {bell for bell, listener in listeners.items() if await listener.wait(0)}

    mirror.adopt(Changed(Status.RUNNING, QUEUED._replace(attempt=1, version=4)))
    assert await rung() == {Bell.CHANGED, Bell.QUEUED}
    mirror.adopt(Changed(Status.QUEUED, QUEUED._replace(status=Status.CANCELLED, version=5), deleted=True))
    assert await rung() == {Bell.CHANGED, Bell.DELETED}
