"""Responses that are filled into a template: byte for byte what an ordinary response would be."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import pytest
from headway import Context, job
from headway.authoring.declaring import declared_as
from headway.authoring.job_types import Registry
from headway.domain.jobs import Job, NewJob
from headway.links import Links
from headway.representation import Encoder
from headway.web.responses.accepted import AcceptedResponses, fits_template
from headway.web.responses.ready import head_of_json

AT = datetime(2026, 1, 31, 12, 0, 0, 7000, tzinfo=UTC)
LATER = datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC)
LIMIT = {"RateLimit": '"submissions-by-owner";r=9;t=60'}


@job("is-filled")
async def is_filled(ctx: Context) -> None:
    """Does nothing."""


def queued(number: int, at: datetime = AT, label: str | None = None, run_at: datetime | None = None) -> Job:
    id = f"0199aaaa-0000-7000-8000-{number:012}"
    new = NewJob(id, "local", "is-filled", "{}", at, run_at or at, 60.0, label, max_attempts=1 + number % 2)
    return Job.queued(new)


@pytest.mark.parametrize("on_complete", [None, "redirect"])
@pytest.mark.parametrize("public_url", ["", "https://jobs.example/100%/%(id)b"])
def test_a_filled_response_equals_an_ordinary_one(public_url: str, on_complete: Literal["redirect"] | None) -> None:
    links = Links(public_url)
    registry = Registry([replace(declared_as(is_filled), on_complete=on_complete)])
    responses, encoder = AcceptedResponses(registry, links), Encoder(links)
    for number, at, position, more in (
        (1, AT, 1, {}),
        (2, LATER, 1000, LIMIT),
        (3, LATER, None, LIMIT),
        (4, AT, 20, {}),
    ):
        accepted = queued(number, at)
        assert fits_template(accepted)
        filled = responses.fill(accepted, position, Links("http://localhost:8000"), more)
        body = encoder.job(accepted, position)
        assert filled._body == body
        operation = {"Operation-Location": f"http://localhost:8000/operations/{accepted.id}"}
        headers = responses.headers(accepted) | more | operation | {"Retry-After": "1"}
        assert sorted(filled._head.split(b"\r\n")) == sorted(head_of_json(202, body, headers).split(b"\r\n"))
        assert filled._head.endswith(b"\r\nDate: ")


def test_a_job_with_values_of_its_own_fits_no_template() -> None:
    assert not fits_template(queued(1, label="weekly"))
    assert not fits_template(queued(1, run_at=LATER))
    assert not fits_template(queued(1)._replace(retry_of="0199aaaa-0000-7000-8000-000000000009"))
