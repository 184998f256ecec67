"""Large JSON bodies are parsed in a thread, so that the event loop goes on meanwhile, and one at a time."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from headway.turns import Turns
from headway.web.identity.clients import CLIENTS, Clients
from headway.web.identity.penalties import PENALTIES, Penalties
from headway.web.parts import PARTS, Parts
from headway.web.requests import bodies
from headway.web.requests.bodies import LARGE_BYTES, parsed

SMALL = b"[%s]" % (b" " * (LARGE_BYTES - 2))
LARGE = b"[%s]" % (b" " * (LARGE_BYTES - 1))


def a_request() -> web.Request:
    app = web.Application()
    app[PARTS] = cast("Parts", SimpleNamespace(parsing=asyncio.Lock(), turns=Turns()))  # all of it that is needed
    app[CLIENTS] = Clients(())
    app[PENALTIES] = Penalties(1, shared=False)
    return make_mocked_request("POST", "/jobs", app=app)


async def test_a_body_is_parsed_in_a_thread_if_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def parse(body: bytes, prefix: str) -> Any:
        threads.append(threading.current_thread())

    monkeypatch.setattr(bodies, "parse_json", parse)
    request = a_request()
    await parsed(request, SMALL)
    await parsed(request, LARGE)
    assert threads[0] is threading.current_thread()
    assert threads[1] is not threading.current_thread()


async def test_a_large_body_waits_for_the_one_that_is_being_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bytes] = []

    async def in_a_thread(function: Any, *arguments: Any) -> Any:
        begun.append(arguments[0])
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", in_a_thread)
    request = a_request()
    async with request.app[PARTS].parsing:
        waiting = asyncio.create_task(parsed(request, LARGE))
        await asyncio.sleep(0)
        assert begun == []
        assert await parsed(request, SMALL) == []
    assert await waiting == []
    assert begun == [LARGE]
