"""Webhooks from real servers to a real receiver, held against the reference library of Standard Webhooks."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Serving
from tests.process import ServerProcess
from tests.receiver import Receiver

ALLOW = {"HEADWAY_WEBHOOK_ALLOW": "127.0.0.0/8"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


def submit(server: ServerProcess, job_type: str, url: str, input: Any = None, **options: Any) -> str:
    envelope = {"type": job_type, "input": input or {}, "webhookUrl": url, **options}
    reply = server.request("POST", "/jobs", envelope)
    assert reply.status == 202, reply.body
    return str(reply.json["jobId"])


def test_a_job_tells_its_receiver_of_its_start_and_its_end(serving: Serving, receiver: Receiver) -> None:
    server = serving(env=ALLOW)
    job_id = submit(server, "noop", receiver.url())
    started, completed = receiver.wait_for(2)
    assert {started.event, completed.event} == {"job.started", "job.completed"}
    assert started.job_id == completed.job_id == job_id
