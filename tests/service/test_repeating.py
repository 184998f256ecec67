"""Repeating a job with changes: what a submission may not be, a repetition may not become."""

from datetime import UTC, datetime

import pytest
from headway import Context, job
from headway.authoring import declaring
from headway.authoring.job_types import JobType
from headway.domain.jobs import NewJob
from headway.errors import InvalidError
from headway.service.options import RetryChanges
from headway.service.repeating import _changed
from pydantic import BaseModel

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Words(BaseModel):
    words: dict[str, str]


@pytest.fixture
def job_type(monkeypatch: pytest.MonkeyPatch) -> JobType:
    monkeypatch.setattr(declaring, "_declared", {})

    @job("keeps-words")
    async def keeps_words(_: Context, input: Words) -> int:
        return len(input.words)

    return declaring.declared("keeps-words")


def new_job(input_json: str) -> NewJob:
    return NewJob(
        id="01a22696-3256-7000-8177-d87699cf7c8c", owner="ann", type="keeps-words", input_json=input_json,
        created_at=AT, run_at=AT, retain_s=60,
    )  # fmt: skip


def test_an_input_that_grows_with_each_repetition_has_the_limit_of_a_body(job_type: JobType) -> None:
    new = new_job('{"words":{}}')
    for number in range(2):
        changes = RetryChanges(input={"words": {f"w{number}": "x" * 400}})
        new = _changed(new, job_type, changes, 1_000)
    with pytest.raises(InvalidError) as refused:
        _changed(new, job_type, RetryChanges(input={"words": {"w3": "x" * 400}}), 1_000)
    assert refused.value.errors == [("/input", "is larger than 1,000 bytes with these changes")]
    smaller = RetryChanges(input={"words": {"w0": None, "w3": "x" * 400}})
    assert '"w3"' in _changed(new, job_type, smaller, 1_000).input_json
