"""What a job itself tells of its attempts."""

from headway.domain.attempts import implied_attempt
from headway.domain.jobs import Job, Status

from tests.conformance.records import at, new_job


def test_a_job_that_is_queued_again_does_not_tell_how_its_last_attempt_ended() -> None:
    job = Job.queued(new_job())._replace(attempt=1, started_at=at(1))
    assert implied_attempt(job) is None
    assert implied_attempt(job._replace(status=Status.RUNNING)) is not None
