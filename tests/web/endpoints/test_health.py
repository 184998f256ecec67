"""`/readyz` while a background loop of the server keeps failing."""

import asyncio
from datetime import datetime

import pytest
from aiohttp.test_utils import TestClient, TestServer
from headway import loops
from headway.app import opened
from headway.authoring.job_types import Registry
from headway.backends.sqlite.key_store import SqliteKeyStore
from headway.settings import Settings

from tests.support.process import WAIT_TIMEOUT_S


async def test_readiness_names_the_loop_that_fails_and_why_until_it_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = True

    async def forget_sessions(_keys: SqliteKeyStore, _now: datetime, _limit: int) -> int:
        if broken:
            raise RuntimeError("a secret of the log")
        return 0

    monkeypatch.setattr(SqliteKeyStore, "forget_sessions", forget_sessions)
    monkeypatch.setattr(loops, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(loops, "LONGEST_BACKOFF_S", 0.01)
    settings = Settings(data_dir=":memory:")
    async with opened(settings, Registry([])) as rooms, TestClient(TestServer(rooms.app)) as client:

        async def answers(status: int) -> dict[str, object]:
            async with asyncio.timeout(WAIT_TIMEOUT_S):
                while True:
                    async with client.get("/readyz") as response:
                        if response.status == status:
                            body: dict[str, object] = await response.json(content_type=None)
                            return body | {"retry_after": response.headers.get("Retry-After")}
                    await asyncio.sleep(0.01)

        problem = await answers(503)
        assert problem["type"] == "/problems/not-ready"
        assert problem["retry_after"] == "5"
        detail = str(problem["detail"])
        assert detail.startswith("The background loop 'retention-expire' failed")
        assert detail.endswith("times in a row: RuntimeError, see the log.")
        broken = False
        assert (await answers(200))["status"] == "ready"
