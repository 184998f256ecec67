"""A request that is refused at shutdown while its body arrives: the client can go on sending, and reads why."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from headway.app import opened
from headway.authoring.loading import load_job_types
from headway.settings import Settings
from headway.web.connections import lingering
from headway.web.parts import PARTS

from tests.support.process import WAIT_TIMEOUT_S
from tests.support.raw import FORM, assert_problem, form, parse, part, request_bytes
from tests.support.serving import TEST_JOBS

MORE_THAN_A_KERNEL_HOLDS = b"x" * 20_000_000


async def test_a_client_that_is_still_sending_reads_why_it_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_S", WAIT_TIMEOUT_S)
    body = form(part("document", MORE_THAN_A_KERNEL_HOLDS, "a.txt"))
    request = request_bytes("POST", "/jobs/reads-upload", FORM, body)
    async with opened(Settings(data_dir=str(tmp_path)), load_job_types([str(TEST_JOBS)])) as rooms:
        runner = web.AppRunner(rooms.app, shutdown_timeout=WAIT_TIMEOUT_S)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(request[:1_000_000])
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            while not rooms.app[PARTS].arriving.contents:  # noqa: ASYNC110 - there is no event for a request that begins
                await asyncio.sleep(0.001)
            rooms.service.admission.stopping = True
            stopped = asyncio.create_task(runner.cleanup())
            received = await reader.readuntil(b"}")
            writer.write(request[1_000_000:])
            await writer.drain()
            received += await reader.read()  # to its end, without a reset
            writer.close()
            await writer.wait_closed()
            await stopped
    assert_problem(parse(received), 503, "stopping")
    assert parse(received).headers["Connection"] == "close"
