"""How a job ends, as a caller sees it; waiting; what can be done with jobs."""

from pathlib import Path
from uuid import uuid4

import pytest
from headway.client import (
    ConflictError,
    GoneError,
    JobCancelledError,
    JobFailedError,
    LogEvent,
    NotFoundError,
    StateEvent,
    WaitTimeoutError,
)

from tests.client.twins import Opening


def test_a_failed_job_raises_its_error(url: str, opening: Opening) -> None:
    job = opening(url).submit("unlucky", {"number": 7})
    with pytest.raises(JobFailedError, match="No luck: 7 did not win") as failed:
        job.result()
    error = failed.value.error
    assert (error.type, error.title, error.detail, error.status) == ("no-luck", "No luck", "7 did not win", 409)
    assert failed.value.state.status == job.status == "failed"


def test_a_cancelled_job_raises_another_error(url: str, opening: Opening, tmp_path: Path) -> None:
    job = opening(url).submit("two-lines", {"gate": str(tmp_path / "gate")})
    assert job.cancel().status == "cancelled"
    with pytest.raises(JobCancelledError):
        job.result()


def test_waiting_has_an_end(url: str, opening: Opening, tmp_path: Path) -> None:
    job = opening(url).submit("two-lines", {"gate": str(tmp_path / "gate")})
    for timeout_s in (0, 1.2):
        with pytest.raises(WaitTimeoutError) as waited:
            job.wait(timeout_s)
        assert not waited.value.state.ended
    with pytest.raises(TimeoutError):
        job.result(timeout_s=0)
    (tmp_path / "gate").touch()
    assert job.wait().status == "completed"
    assert job.wait(0).status == "completed"


def test_events_are_the_states_and_the_log_to_the_end(url: str, opening: Opening, tmp_path: Path) -> None:
    job = opening(url).submit("two-lines", {"gate": str(tmp_path / "gate")})
    lines, statuses = [], []
    for event in job.events():
        if isinstance(event, LogEvent):
            lines.append(event.line.message)
            (tmp_path / "gate").touch()
        elif isinstance(event, StateEvent):
            statuses.append(event.state.status)
    assert lines == ["first", "second"]
    assert statuses[-1] == job.status == "completed"
    assert [line.message for line in job.logs()] == lines
    assert [line.message for line in job.logs(after=next(job.logs()).seq, follow=True)] == ["second"]


def test_events_can_be_left_early(url: str, opening: Opening, tmp_path: Path) -> None:
    job = opening(url).submit("two-lines", {"gate": str(tmp_path / "gate")})
    events = job.events()
    next(events)
    events.close()  # type: ignore[attr-defined]
    job.cancel()


def test_the_result_of_a_job_that_is_read_later(url: str, opening: Opening) -> None:
    client = opening(url)
    job_id = client.submit("resize", {"width": 2}).id
    assert client.get(job_id).result()["size"] == [2, 1]


def test_a_large_result_is_fetched_by_itself(url: str, opening: Opening, tmp_path: Path) -> None:
    job = opening(url).submit("letters-file", {"number": 200_000})
    letters = job.result()
    assert len(letters) == 200_000
    assert job.save_result(tmp_path).read_text("utf-8") == f'"{letters}"'


def test_a_job_that_has_ended_cannot_be_cancelled_and_its_deleted_result_is_gone(url: str, opening: Opening) -> None:
    job = opening(url).submit("letters-file", {"number": 3})
    job.wait()
    with pytest.raises(ConflictError):
        job.cancel()
    job.delete_result()
    with pytest.raises(GoneError):
        job.result_bytes()


def test_a_job_that_has_ended_can_be_retried_and_purged(url: str, opening: Opening) -> None:
    client = opening(url)
    job = client.submit("resize", {"width": 2}, label="first")
    job.wait()
    again = job.retry(input={"width": 8}, label=None)
    assert (again.state.retry_of, again.label, again.result()["size"]) == (job.id, None, [8, 4])
    job.purge()
    with pytest.raises(NotFoundError):
        job.refresh()
    with pytest.raises(NotFoundError):
        job.purge()


def test_a_job_that_is_purged_while_it_is_watched_ends_as_cancelled(url: str, opening: Opening, tmp_path: Path) -> None:
    client = opening(url)
    job = client.submit("two-lines", {"gate": str(tmp_path / "gate")})
    for event in job.events():
        if isinstance(event, LogEvent):
            client.get(job.id).purge()
    assert job.status == "cancelled"
    with pytest.raises(NotFoundError):
        job.refresh()


def test_an_edit_changes_what_was_given(url: str, opening: Opening) -> None:
    job = opening(url).submit("hello", label="one", metadata={"a": "b"})
    job.wait()
    assert job.edit(label=None, metadata={"c": "d"}, retain_s=60).metadata == {"a": "b", "c": "d"}
    assert job.label is None


def test_jobs_are_listed_by_filters_over_pages(url: str, opening: Opening) -> None:
    client, label = opening(url), uuid4().hex
    mine = [client.submit("hello", label=label).id for _ in range(3)]
    assert [job.id for job in client.jobs(label=label, limit=2)] == mine[:0:-1]
    found = client.jobs(label=label, type=["hello", "resize"], status="queued,running,completed", sort="createdAt")
    assert [job.id for job in found] == mine
    assert list(client.jobs(metadata={"nothing": "like it"})) == []


def test_what_the_server_offers_and_who_one_is(url: str, opening: Opening) -> None:
    client = opening(url)
    assert {"resize", "hello"} <= {each["name"] for each in client.types()}
    assert client.stats()["byStatus"].keys() >= {"queued", "completed"}
    assert client.usage()["owner"]["name"] == "local"
    assert client.whoami()["keyNeeded"] is False
    job = client.submit("hello")
    job.wait()
    assert [attempt["outcome"] for attempt in job.attempts()] == ["completed"]


def test_files_are_listed_read_and_written(url: str, opening: Opening, tmp_path: Path) -> None:
    job = opening(url).submit("letters-file", {"number": 100})
    job.wait()
    assert [(file.name, file.size_bytes) for file in job.files] == [("letters.txt", 100)]
    assert len(job.files.read("letters.txt")) == 100
    assert job.files.download("letters.txt", tmp_path).read_bytes() == job.files.read("letters.txt")
    assert [path.name for path in job.files.download_all(tmp_path / "new" / "folder")] == ["letters.txt"]
    assert job.files.download_zip(tmp_path / "all.zip").read_bytes().startswith(b"PK")
    with pytest.raises(NotFoundError):
        job.files.download("nothing", tmp_path / "nothing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.zip", "letters.txt", "new"]
