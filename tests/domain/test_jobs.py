"""Ids, instants, filters: the plain data of `headway.domain`."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from headway.domain.audit import Actor, ActorKind
from headway.domain.deliveries import Webhook
from headway.domain.filters import JobFilter
from headway.domain.ids import JobIds, first_id_at_ms, is_job_id
from headway.domain.instants import EPOCH, from_ms, to_ms, whole_ms
from headway.domain.jobs import Job, LiveJob, NewJob, Status, UploadedFile
from headway.domain.progress import Progress
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
INSTANTS = st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(INSTANTS)
def test_an_id_is_a_uuid_of_version_7_that_carries_its_instant(at: datetime) -> None:
    text, carried = JobIds().new(at)
    parsed = uuid.UUID(text)
    assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, text)
    assert parsed.int >> 80 == to_ms(carried)
    assert timedelta(0) <= at - carried < timedelta(milliseconds=1)
    assert is_job_id(text)


@given(st.lists(INSTANTS, min_size=2, max_size=50))
def test_ids_grow_whatever_the_clock_does(clock: list[datetime]) -> None:
    ids = JobIds()
    made = [ids.new(at) for at in clock]
    assert made == sorted(made)
    assert len({text for text, _ in made}) == len(made)


def test_ids_beyond_a_milliseconds_counter_continue_in_the_next_one() -> None:
    ids = JobIds()
    made = [ids.new(NOON) for _ in range(10_000)]
    texts = [text for text, _ in made]
    assert texts == sorted(set(texts))
    assert made[4_095][1] == NOON
    assert made[4_096][1] == NOON + timedelta(milliseconds=1)


@given(INSTANTS)
def test_the_first_id_of_a_millisecond_separates_earlier_ids_from_later_ones(at: datetime) -> None:
    ms = to_ms(at)
    before, _ = JobIds().new(from_ms(ms - 1))
    within, _ = JobIds().new(at)
    assert before < first_id_at_ms(ms) <= within
    assert is_job_id(first_id_at_ms(ms))


@pytest.mark.parametrize("ms", [-(10**15), -1, 0, 1 << 48, 10**20])
def test_the_first_id_of_an_instant_that_no_id_can_carry_is_still_an_id(ms: int) -> None:
    assert is_job_id(first_id_at_ms(ms))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "018f0000-0000-4000-8000-000000000000",
        "018f0000-0000-7000-c000-000000000000",
        "018F0000-0000-7000-8000-00000000000A",
        "018f0000000070008000000000000000",
        "018f0000-0000-7000-8000-000000000000\n",
        "{018f0000-0000-7000-8000-000000000000}",
        "018f0000-0000-7000-8000-00000000000\u0660",
        "a" * 8_192,
        "a/../b",
        "\0",
    ],
)
def test_other_texts_are_not_ids(text: str) -> None:
    assert not is_job_id(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_survives_the_round_trip_to_the_millisecond(at: datetime) -> None:
    assert timedelta(0) <= at - from_ms(to_ms(at)) < timedelta(milliseconds=1)
    assert to_ms(from_ms(to_ms(at))) == to_ms(at)


def test_milliseconds_count_from_the_epoch_in_any_zone() -> None:
    assert to_ms(EPOCH) == 0
    assert to_ms(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0
    assert to_ms(EPOCH - timedelta(microseconds=1)) == -1


def test_an_instant_is_cut_to_the_millisecond_the_record_holds() -> None:
    fine = NOON + timedelta(microseconds=1_999)
    assert whole_ms(fine) == from_ms(to_ms(fine)) == NOON + timedelta(milliseconds=1)


def a_job(**chosen: object) -> Job:
    job = Job.queued(
        NewJob(
            id=JobIds().new(NOON)[0],
            owner="local",
            type="report",
            input_json="{}",
            created_at=NOON,
            run_at=NOON,
            retain_s=60,
        )
    )
    return job._replace(**chosen)  # type: ignore[arg-type]


LATER = NOON + timedelta(hours=1)
EVERYTHING = NewJob(
    id="one",
    owner="ada",
    type="report",
    input_json='{"rows":3}',
    created_at=NOON,
    run_at=LATER,
    retain_s=7.5,
    label="March",
    priority=9,
    max_attempts=4,
    timeout_s=30.0,
    uploads=(UploadedFile("archive", "a.zip", "application/zip", 12),),
    retry_of="zero",
    webhook=Webhook("https://receiver.example/"),
    key_id="5f1c07be2a90d713",
    by=Actor(ActorKind.KEY, "ada", "5f1c07be2a90d713"),
    metadata=(("order", "4711"), ("customer", "")),
)
FOR_THE_RECORD = {"input_json", "by"}
"""What a submission has and a job has not."""


def test_a_queued_job_has_every_option_of_its_submission() -> None:
    assert not [name for name, default in NewJob._field_defaults.items() if getattr(EVERYTHING, name) == default]
    job = Job.queued(EVERYTHING)
    assert {name: getattr(job, name) for name in set(NewJob._fields) - FOR_THE_RECORD} == {
        name: value for name, value in EVERYTHING._asdict().items() if name not in FOR_THE_RECORD
    }
    assert (job.status, job.attempt, job.version, job.updated_at) == (Status.QUEUED, 0, 1, NOON)


def test_a_retry_has_every_option_of_the_job_and_is_due_now() -> None:
    retry = NewJob.repeating(Job.queued(EVERYTHING), "two", LATER, '{"rows":3}', EVERYTHING.key_id, EVERYTHING.by)
    assert retry == EVERYTHING._replace(id="two", created_at=LATER, run_at=LATER, retry_of="one")


def test_an_empty_filter_matches_everything() -> None:
    assert JobFilter().matches(a_job())


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (JobFilter(statuses=frozenset({Status.QUEUED})), True),
        (JobFilter(statuses=frozenset({Status.RUNNING})), False),
        (JobFilter(types=frozenset({"report", "import"})), True),
        (JobFilter(types=frozenset({"import"})), False),
        (JobFilter(ids=frozenset({"another"})), False),
        (JobFilter(label="red"), True),
        (JobFilter(label=""), False),
        (JobFilter(created_after=NOON), False),
        (JobFilter(created_after=NOON - timedelta(microseconds=1)), True),
        (JobFilter(created_before=NOON), False),
        (JobFilter(created_before=NOON + timedelta(microseconds=1)), True),
        (JobFilter(label="red", types=frozenset({"import"})), False),
    ],
)
def test_a_filter_matches_jobs_that_meet_all_its_conditions(wanted: JobFilter, matches: bool) -> None:
    assert wanted.matches(a_job(label="red")) is matches


def test_a_tick_makes_a_new_version() -> None:
    job = a_job(version=7)
    ticked = job.ticked(Progress(percent=5.0), NOON + timedelta(seconds=1))
    assert (ticked.version, ticked.progress.percent, ticked.updated_at) == (8, 5.0, NOON + timedelta(seconds=1))
    assert ticked._replace(version=7, progress=job.progress, updated_at=job.updated_at) == job


@pytest.mark.parametrize("status", Status)
def test_three_states_are_terminal(status: Status) -> None:
    assert a_job(status=status).terminal is (status in {Status.COMPLETED, Status.FAILED, Status.CANCELLED})


def test_a_tick_changes_progress_time_and_version_and_nothing_else() -> None:
    job = Job.queued(EVERYTHING)
    ticked = job.ticked(Progress(percent=5.0), LATER)
    assert ticked == job._replace(progress=Progress(percent=5.0), updated_at=LATER, version=job.version + 1)
    assert isinstance(ticked, Job)
    assert ticked.ticked(Progress(percent=6.0), NOON).apart_from_ticks() == job.apart_from_ticks()


def test_a_live_job_is_its_record_and_the_ticks_since() -> None:
    job = Job.queued(EVERYTHING)
    live = LiveJob(job)
    assert live.job is job
    for _ in range(2):
        live.tick(Progress(percent=5.0), LATER)
    assert live.job == job.ticked(Progress(), NOON).ticked(Progress(percent=5.0), LATER)
    assert (live.version, live.recorded) == (3, job)
    assert live.job is live.job


@pytest.mark.parametrize("changed", [{"status": Status.RUNNING}, {"last_seq": 2}, {"webhook": None}, {"label": None}])
def test_a_job_that_changed_in_another_way_differs_by_more_than_ticks(changed: dict[str, object]) -> None:
    job = Job.queued(EVERYTHING)
    later = job.ticked(Progress(), LATER)._replace(**changed)  # type: ignore[arg-type]
    assert later.apart_from_ticks() != job.apart_from_ticks()
