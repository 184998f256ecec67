"""`Attempt`: how often what a handler reports is published."""

from datetime import UTC, datetime

import pytest
from headway.domain.ids import JobIds
from headway.domain.jobs import Claim, Job, NewJob
from headway.running.attempt import Attempt

EVERY_S = 0.1


class Clocked:
    """An attempt whose clock the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr("headway.running.attempt.steady_s", lambda: self.now_s)
        job_id, at = JobIds().new(datetime.now(UTC))
        new = NewJob(id=job_id, owner="local", type="t", input_json="{}", created_at=at, run_at=at, retain_s=60)
        self.attempt = Attempt(Claim(Job.queued(new), "{}", None), None)

    def report(self, done: int) -> None:
        self.attempt.reported.done = done
        self.attempt.reported.changed = True

    def published(self) -> int | float | None:
        """What is published now, if anything is."""
        progress = self.attempt.read_progress(EVERY_S)
        return None if progress is None else progress.done


@pytest.fixture
async def clocked(monkeypatch: pytest.MonkeyPatch) -> Clocked:
    return Clocked(monkeypatch)


async def test_constant_reports_are_published_at_the_permitted_rate(clocked: Clocked) -> None:
    found = []
    for number in range(1_000):  # ten seconds
        clocked.now_s += 0.01
        clocked.report(number)
        if (done := clocked.published()) is not None:
            found.append(done)
    assert 99 <= len(found) <= 102
    clocked.now_s += 1
    assert clocked.published() == 999


async def test_reports_at_the_permitted_rate_are_not_skipped_because_of_jitter(clocked: Clocked) -> None:
    found = []
    for number in range(200):
        for look in range(5):  # 100 ms, in the middle of which it reports: now early, now late
            clocked.now_s += 0.02
            if look == (number * 7) % 4:
                clocked.report(number)
            if (done := clocked.published()) is not None:
                found.append(done)
    assert found == list(range(200))


async def test_a_report_that_waits_is_the_newest_and_is_not_lost(clocked: Clocked) -> None:
    clocked.report(1)
    assert clocked.published() == 1
    clocked.report(2)
    assert clocked.published() == 2, "after a quiet time there are two"
    for number in (3, 4):
        clocked.now_s += 0.01
        clocked.report(number)
        assert clocked.published() is None
    clocked.now_s += EVERY_S
    assert clocked.published() == 4
    assert clocked.published() is None


async def test_the_last_report_does_not_wait(clocked: Clocked) -> None:
    clocked.report(1)
    assert clocked.published() == 1
    clocked.report(2)
    last = clocked.attempt.read_progress()
    assert last is not None
    assert last.done == 2
