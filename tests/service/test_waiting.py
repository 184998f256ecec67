"""Waiting for a job: woken by its bell and by nothing else."""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from headway.backends.bells import LocalHub
from headway.domain.access import LOCAL_CALLER
from headway.domain.jobs import Job
from headway.errors import JobNotFoundError
from headway.ports.events import Bell
from headway.service.waiting import Waiting

if TYPE_CHECKING:
    from headway.ports.jobs import Reader

LONG_S = 3600.0


class Jobs:
    """Stands for the store: counts how often it is asked. A version is job enough here."""

    def __init__(self) -> None:
        self.version: int | None = 1
        self.asked = 0

    async def get(self, _caller: str, job_id: str) -> int:
        self.asked += 1
        if self.version is None:
            raise JobNotFoundError(job_id)
        return self.version


class Fixture:
    def __init__(self) -> None:
        self.jobs, self.hub = Jobs(), LocalHub()
        self.waiting = Waiting(cast("Reader", self.jobs), self.hub, most=20, most_per_client=10, most_per_owner=15)

    async def wait(self, until: int, wait_s: float = LONG_S) -> Any:
        def enough(job: Job) -> bool:
            return cast("int", job) >= until

        return await self.waiting.until(LOCAL_CALLER, "a", wait_s, enough, client="browser")

    def publish(self, version: int | None) -> None:
        self.jobs.version = version
        self.hub.ring(Bell.CHANGED, "a")

    def assert_nothing_left(self) -> None:
        assert not any(self.hub._to_one.values())
        assert not self.waiting._waits
        assert not self.waiting._of_client
        assert not self.waiting._of_owner


@pytest.fixture
async def made() -> Fixture:
    return Fixture()


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_job_that_is_enough_is_answered_at_once(made: Fixture) -> None:
    assert await made.wait(1) == 1
    assert made.jobs.asked == 1
    made.assert_nothing_left()


async def test_it_looks_at_the_job_when_a_bell_rings_and_not_before(made: Fixture) -> None:
    waits = [asyncio.create_task(made.wait(3)) for _ in range(10)]
    await settle()
    assert made.jobs.asked == 10
    await asyncio.sleep(0.1)
    made.hub.ring(Bell.CHANGED, "another")
    await settle()
    assert made.jobs.asked == 10
    made.publish(2)
    await settle()
    assert made.jobs.asked == 20
    assert not any(wait.done() for wait in waits)
    made.publish(3)
    assert await asyncio.gather(*waits) == [3] * 10
    made.assert_nothing_left()


async def test_a_bell_between_two_reads_is_not_missed(made: Fixture) -> None:
    wait = asyncio.create_task(made.wait(2))
    await asyncio.sleep(0)
    made.publish(2)
    assert await wait == 2


async def test_at_the_end_of_its_time_it_gives_the_job_as_it_is(made: Fixture) -> None:
    assert await made.wait(9, 0.02) == 1
    assert await made.wait(9, 0) == 1
    made.assert_nothing_left()


async def test_a_job_that_is_deleted_meanwhile_is_not_found(made: Fixture) -> None:
    wait = asyncio.create_task(made.wait(2))
    await settle()
    made.publish(None)
    with pytest.raises(JobNotFoundError):
        await wait
    made.assert_nothing_left()


async def test_when_the_server_stops_it_gives_the_job_as_it_is(made: Fixture) -> None:
    wait = asyncio.create_task(made.wait(2))
    await settle()
    made.hub.close()
    assert await wait == 1
    assert await made.wait(2) == 1
    made.assert_nothing_left()
