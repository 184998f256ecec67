"""The response to a claim: what the record has as JSON is in it as it is, and a worker that is gone leaves its job."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from headway import remote_job
from headway.links import Links
from headway.running.calling import NotBegun
from headway.running.remote.lease import TheLease
from headway.running.remote.workers import Workers
from headway.web.connections.lost_clients import LostClients
from headway.web.endpoints.work import claims
from headway.web.endpoints.work.claims import AssignmentView, assignment_json, claim_job
from headway.web.links import LINKS
from headway.web.parts import PARTS, Parts

from tests.support.attempts import FakeStore, a_job, an_attempt, registry_of


async def a_lease(input_json: str = "{}", checkpoint_json: str | None = None, **fields: Any) -> TheLease:
    """A worker's lease on a job."""

    @remote_job("a-job", lease_s=600)
    def done_elsewhere() -> Any: ...

    workers = Workers(FakeStore(), registry_of(done_elsewhere))
    asking = asyncio.create_task(workers.claim("a-job", None, 50.0))
    await asyncio.sleep(0)
    workers.give(an_attempt(a_job(**fields), input_json, checkpoint_json))
    lease = await asking
    assert lease is not None
    return lease


async def test_input_and_checkpoint_are_the_texts_of_the_record() -> None:
    lease = await a_lease('{ "number": 1.50 }', '{"row": 1e2}')
    body = assignment_json(lease, Links(""))
    assert b'"input":{ "number": 1.50 }' in body
    assert b'"checkpoint":{"row": 1e2}' in body
    names = [field.alias for field in AssignmentView.model_fields.values()]
    assert list(json.loads(body)) == names


async def test_a_job_without_input_and_checkpoint_has_null() -> None:
    assignment = json.loads(assignment_json(await a_lease("null"), Links("")))
    assert (assignment["input"], assignment["checkpoint"], assignment["uploads"]) == (None, None, [])


async def test_a_worker_that_was_gone_before_its_job_came_hands_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("actor", "caller", "client", "count_claim", "keys_owner"):
        monkeypatch.setattr(claims, name, Mock())
    lease, noted = await a_lease(), list[Any]()

    async def claim(*_: Any, **__: Any) -> TheLease:
        return lease

    of = SimpleNamespace(
        service=SimpleNamespace(working=SimpleNamespace(claim=claim)),
        audit=SimpleNamespace(note=noted.extend),
        lost_clients=LostClients(),
    )
    app = web.Application()
    app[PARTS], app[LINKS] = cast("Parts", of), Links("")
    gone = Mock(asyncio.Transport, is_closing=lambda: True)
    request = make_mocked_request("POST", "/work/a-job/claim", match_info={"type": "a-job"}, app=app, transport=gone)
    response = await claim_job(request)
    assert (response.status, response.body) == (204, None)
    assert noted == []
    assert await lease.until_ended() == NotBegun()
