"""The cache of ready responses. A job's bytes are stand-ins here."""

from datetime import UTC, datetime

import pytest
from headway.domain.jobs import Job, NewJob
from headway.web.responses import ready
from headway.web.responses.ready import KEPT_BYTES_EACH, ReadyAnswer, ReadyAnswers

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
JOB = Job.queued(NewJob(id="a", owner="local", type="t", input_json="{}", created_at=AT, run_at=AT, retain_s=1))


def answer(body: bytes = b"{}", version: int = JOB.version, position: int | None = None) -> ReadyAnswer:
    return ReadyAnswer(version, position, "W/1", 202, b"head", body, b"head 304")


def test_a_cached_response_is_for_one_version_and_queue_position() -> None:
    answers = ReadyAnswers()
    answers.keep("a", answer(position=2))
    assert answers.get(JOB, 2) is not None
    assert answers.get(JOB, 1) is None
    assert answers.get(JOB, None) is None
    answers.keep("a", answer(version=JOB.version + 1))
    assert answers.get(JOB, None) is None
    answers.keep("a", answer())
    assert answers.get(JOB, None) is not None


def test_the_cache_is_bounded_and_evicts_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "KEPT_BYTES", 10 * answer().size_bytes)
    answers = ReadyAnswers()
    answers.keep("a", answer())
    for number in range(9):
        answers.keep(str(number), answer())
    assert answers.get(JOB, None) is not None
    answers.keep("a", answer())  # made anew: the youngest now
    for number in range(9, 18):
        answers.keep(str(number), answer())
    assert answers.get(JOB, None) is not None
    answers.keep("18", answer())
    assert answers.get(JOB, None) is None
    assert len(answers._kept) == 10
    assert answers._bytes == 10 * answer().size_bytes


def test_a_large_response_is_not_cached_and_evicts_the_jobs_older_one() -> None:
    answers = ReadyAnswers()
    answers.keep("a", answer())
    answers.keep("a", answer(b"x" * KEPT_BYTES_EACH))
    assert answers._bytes == 0
    assert not answers._kept
