"""The limits on queued jobs, and how long a refused submission should wait."""

import pytest
from headway.backends.memory.census import LONGEST_RETRY_S, RETRY_WHEN_FULL_S, Census
from headway.domain.access import EVERY_OWNER, LOCAL_OWNER
from headway.domain.jobs import Status
from headway.errors import OwnerQueueFullError, QueueFullError


def queued(census: Census, owner: str, job_type: str, jobs: int) -> None:
    census.count(owner, job_type, Status.QUEUED, jobs)


def test_the_queue_is_full_at_its_limit() -> None:
    census = Census(max_queued=3)
    queued(census, "ada", "report", 2)
    census.check_room("ada", "report", None)
    census.reserve("ada", "report")
    with pytest.raises(QueueFullError, match="3 jobs are queued already"):
        census.check_room("bob", "import", None)
    census.release("ada", "report")
    census.check_room("bob", "import", None)


def test_a_type_is_full_at_its_own_limit() -> None:
    census = Census(max_queued=100)
    queued(census, "ada", "report", 2)
    with pytest.raises(QueueFullError, match="2 jobs of this type are queued already"):
        census.check_room("bob", "report", 2)
    census.check_room("bob", "import", 2)


def test_an_owner_is_full_at_their_share_and_others_are_not() -> None:
    census = Census(max_queued=100, max_queued_per_owner=2)
    queued(census, "ada", "report", 1)
    census.reserve("ada", "import")
    with pytest.raises(OwnerQueueFullError, match="2 jobs of this owner are queued already"):
        census.check_room("ada", "report", None)
    census.check_room("bob", "report", None)


def test_jobs_without_an_api_key_have_no_share() -> None:
    census = Census(max_queued=100, max_queued_per_owner=2)
    queued(census, LOCAL_OWNER, "report", 50)
    census.check_room(LOCAL_OWNER, "report", None)


@pytest.mark.parametrize(
    ("run_times", "retry_after_s"),
    [([], RETRY_WHEN_FULL_S), ([0.2, 0.2, 9.0], 1), ([3.4, 3.4, 3.6], 4), ([7_200.0], LONGEST_RETRY_S)],
)
def test_a_refused_submission_retries_after_the_median_run_time(run_times: list[float], retry_after_s: int) -> None:
    census = Census(max_queued=0)
    census.load([], [("report", run_s) for run_s in run_times])
    with pytest.raises(QueueFullError) as refused:
        census.check_room("ada", "report", None)
    assert refused.value.retry_after_s == retry_after_s


def test_it_begins_with_what_the_record_holds() -> None:
    census = Census(max_queued=10)
    census.load([("ada", "report", Status.QUEUED, 2), ("bob", "report", Status.COMPLETED, 3)], [("report", 1.5)])
    assert (census.queued, census.queued_of("report"), census.queued_of_owner("ada")) == (2, 2, 2)
    assert (census.queued_types_of("ada"), census.queued_types_of("bob")) == ({"report": 2}, {})
    assert census.of("bob").by_type == {"report": {Status.COMPLETED: 3}}
    assert census.of(EVERY_OWNER).by_type == {"report": {Status.QUEUED: 2, Status.COMPLETED: 3}}
    assert (census.owners(EVERY_OWNER), census.owners("ada")) == (["ada", "bob"], ["ada"])
    assert census.median_run_s("report") == 1.5


def test_queued_jobs_are_counted_with_those_of_their_owner_that_share_slots_with_them() -> None:
    census = Census(max_queued=100, sharing=[["report", "export"], ["import"]])
    for owner, job_type, jobs in (
        ("ada", "report", 3),
        ("ada", "export", 2),
        ("ada", "import", 5),
        ("bob", "export", 9),
    ):
        census.count(owner, job_type, Status.QUEUED, jobs)
    census.moved("ada", "export", Status.QUEUED, Status.RUNNING)
    assert census.queued_beside("ada", "report") == census.queued_beside("ada", "export") == 4
    assert census.queued_beside("ada", "import") == 5
    census.moved("ada", "export", Status.RUNNING, Status.QUEUED)
    assert census.queued_beside("ada", "report") == 5
    assert census.queued_beside("cy", "report") == 0


@pytest.mark.parametrize(("owner", "most_of_type"), [("ada", None), ("bob", None), ("ada", 5), (LOCAL_OWNER, 100)])
def test_the_room_for_several_jobs_is_for_as_many_as_are_accepted_one_by_one(
    owner: str, most_of_type: int | None
) -> None:
    census = Census(max_queued=12, max_queued_per_owner=7)
    queued(census, "ada", "report", 1)
    queued(census, "bob", "import", 2)
    census.reserve("ada", "report")
    room = census.room(owner, "report", most_of_type)
    assert room > 0
    for _ in range(room):
        census.check_room(owner, "report", most_of_type)
        census.reserve(owner, "report")
    assert census.room(owner, "report", most_of_type) == 0
    with pytest.raises(QueueFullError):
        census.check_room(owner, "report", most_of_type)
