"""The sender with a real outbox and a real receiver in one event loop: the whole schedule, sped up."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from headway.backends.bells import LocalHub
from headway.backends.sqlite.database import Database
from headway.backends.sqlite.opening.connection import open_writer
from headway.backends.sqlite.outbox import SqliteOutbox
from headway.backends.sqlite.record import SqliteRecord
from headway.backends.sqlite.statements import SQL
from headway.clock import utc_now
from headway.domain.addresses import AllowList
from headway.domain.deliveries import DEFAULT_EVENTS, Delivery, Schedule, Verdict, Webhook, WebhookEvent
from headway.domain.ids import JobIds
from headway.domain.jobs import NewJob
from headway.errors import StoreUnavailableError
from headway.loops import Loops
from headway.ports.outbox import Due, Limits
from headway.webhooks.outgoing import Answer, Outgoing
from headway.webhooks.sender import MOST_AT_ONCE, MOST_AT_ONCE_PER_HOST, MOST_AT_ONCE_PER_OWNER, WebhookSender

from tests.conformance.backends import BODY_OF
from tests.support.receiver import Receiver, answering

QUICK = Schedule(delays_s=(0.02,) * 9, max_jitter=0.0)
WAIT_TIMEOUT_S = 20.0


class Rooms:
    """A record, a sender that runs on it, and how to make jobs that end at once."""

    def __init__(self, record: SqliteRecord, sender: WebhookSender) -> None:
        self.store, self.outbox = record.store, record.outbox
        self.sender = sender
        self._ids = JobIds()

    async def cancelled_job(self, url: str, owner: str = "local") -> str:
        """A job of which one thing is told; its id."""
        job_id, created_at = self._ids.new(datetime.now(UTC))
        webhook = Webhook(url, frozenset({WebhookEvent.CANCELLED}))
        await self.store.insert(NewJob(job_id, owner, "report", "{}", created_at, created_at, 1_000, webhook=webhook))
        await self.store.cancel(owner, job_id, utc_now())
        return job_id

    async def until(self, job_id: str, status: str) -> Any:
        """The job's only delivery, once it has this state."""
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            while True:
                (delivery,) = await self.outbox.of_job(job_id, 10)
                if delivery.status == status:
                    return delivery
                await asyncio.sleep(0.005)


@asynccontextmanager
async def opened(
    path: Path, schedule: Schedule = QUICK, outbox: Callable[[Database, LocalHub], SqliteOutbox] = SqliteOutbox
) -> AsyncIterator[Rooms]:
    hub = LocalHub()
    async with AsyncExitStack() as stack:
        record = await SqliteRecord.open(path, hub, max_queued=100_000, body_of=BODY_OF)
        stack.push_async_callback(record.close)
        outgoing = Outgoing(AllowList(["127.0.0.1"]))
        stack.push_async_callback(outgoing.close)
        sender = WebhookSender(outbox(record.database, hub), hub, outgoing, schedule=schedule, jitter=lambda: 0.0)
        await sender.start(Loops())
        stack.push_async_callback(sender.stop, 0.2)
        yield Rooms(record, sender)


@pytest.fixture
async def rooms(tmp_path: Path) -> AsyncIterator[Rooms]:
    async with opened(tmp_path / "a.db") as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    with Receiver() as started:
        yield started


async def test_a_delivery_fails_after_ten_attempts(rooms: Rooms, receiver: Receiver) -> None:
    receiver.behaviours["/hook"] = answering(500)
    delivery = await rooms.until(await rooms.cancelled_job(receiver.url()), "failed")
    assert (delivery.attempts, delivery.last_status) == (10, 500)
    assert len(receiver.received) == 10
    assert len({request.id for request in receiver.received}) == 1
    assert len({request.body for request in receiver.received}) == 1


async def test_the_last_attempt_counts_like_the_first(rooms: Rooms, receiver: Receiver) -> None:
    receiver.behaviours["/hook"] = answering(*[500] * 9, 204)
    delivery = await rooms.until(await rooms.cancelled_job(receiver.url()), "delivered")
    assert delivery.attempts == 10


async def test_a_redelivery_has_all_attempts_again(rooms: Rooms, receiver: Receiver) -> None:
    receiver.behaviours["/hook"] = answering(*[500] * 15, 204)
    job_id = await rooms.cancelled_job(receiver.url())
    failed = await rooms.until(job_id, "failed")
    await rooms.outbox.redeliver(job_id, failed.id, utc_now())
    assert (await rooms.until(job_id, "delivered")).attempts == 16


async def test_a_refused_address_fails_at_once_with_the_reason(rooms: Rooms) -> None:
    """One that the operator no longer excepts, say."""
    delivery = await rooms.until(await rooms.cancelled_job("http://127.0.0.2:9/"), "failed")
    assert (delivery.attempts, delivery.last_status) == (1, None)
    assert "loopback" in delivery.last_error


async def test_a_closed_port_is_retried(tmp_path: Path) -> None:
    async with opened(tmp_path / "a.db", Schedule(delays_s=(0.02,))) as rooms:
        delivery = await rooms.until(await rooms.cancelled_job("http://127.0.0.1:9/"), "failed")
    assert delivery.attempts == 2
    assert "could not be connected to" in delivery.last_error


async def test_the_number_of_simultaneous_deliveries_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an answer for each at its own time, the most that were asked for at once is what was promised."""
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()
    release = asyncio.Event()

    async def post(_: Outgoing, url: str, body: bytes, headers: object) -> Any:
        host = url.split("/")[2]
        owner = "a" if int(host.split("-")[1].split(".")[0]) % 2 else "b"
        for key in (host, owner, "all"):
            under_way[key] += 1
            most[key] = max(most[key], under_way[key])
        await release.wait()
        for key in (host, owner, "all"):
            under_way[key] -= 1
        return Answer(204, None)

    monkeypatch.setattr(Outgoing, "post", post)
    async with opened(tmp_path / "a.db") as rooms:
        jobs = [
            await rooms.cancelled_job(f"http://host-{number % 40}.example/", "a" if number % 2 else "b")
            for number in range(400)
        ]
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            while under_way["all"] < MOST_AT_ONCE:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        release.set()
        for job_id in jobs:
            await rooms.until(job_id, "delivered")
    assert most.pop("all") == MOST_AT_ONCE
    assert most.pop("a") == most.pop("b") == MOST_AT_ONCE_PER_OWNER
    assert max(most.values()) <= MOST_AT_ONCE_PER_HOST


@pytest.mark.slow
async def test_ten_thousand_deliveries_to_a_dead_host_delay_no_others(tmp_path: Path, receiver: Receiver) -> None:
    """Nor does a look for what is due pass them by: the statements say how they search."""
    path = tmp_path / "a.db"
    dead = Webhook("http://127.0.0.1:9/", frozenset(DEFAULT_EVENTS))
    async with opened(path, Schedule()) as rooms:
        ids, now = JobIds(), datetime.now(UTC)
        news = [NewJob(ids.new(now)[0], "local", "report", "{}", now, now, 1_000, webhook=dead) for _ in range(10_000)]
        await asyncio.gather(*(rooms.store.insert(new) for new in news))
        await asyncio.gather(*(rooms.store.cancel("local", new.id, utc_now()) for new in news))
        async with asyncio.timeout(20):
            for _ in range(5):
                job_id = await rooms.cancelled_job(receiver.url())
                while not [request for request in receiver.received if request.job_id == job_id]:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)


OF_HOST = "deliveries USING INDEX deliveries_due (owner=? AND host=? AND taken=?"


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("due_receivers", "SEARCH receivers USING INDEX receivers_due (due_at<?)"),
        ("next_receiver", "SCAN receivers USING COVERING INDEX receivers_due"),  # in its order, up to the first
        ("release_leases", OF_HOST),
        ("count_taken", OF_HOST),
        ("first_due", OF_HOST),
        ("take_deliveries", OF_HOST),
        ("give_up_deliveries", "deliveries_to_url (owner=? AND url=?)"),
        ("next_progress", "deliveries_of_job (job_id=?)"),
        ("is_gone", "PRIMARY KEY (owner=? AND url=?)"),
    ],
)
def test_taking_due_deliveries_uses_the_indexes(tmp_path: Path, name: str, way: str) -> None:
    connection = open_writer(tmp_path / "a.db")
    try:
        where = dict.fromkeys(re.findall(r":(\w+)", SQL[name]), 1)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", where)]
    finally:
        connection.close()
    assert any(way in step for step in plan), plan
    assert not [step for step in plan if "TEMP B-TREE" in step]


class Hesitant(SqliteOutbox):
    """An outbox whose first calls fail, like those of a record whose disk is full for a moment."""

    def __init__(self, database: Database, hub: LocalHub, **failures: list[Exception]) -> None:
        super().__init__(database, hub)
        self.failures = failures

    async def take(self, now: datetime, limits: Limits, lease_s: float) -> Due:
        self._fail("take")
        return await super().take(now, limits, lease_s)

    async def record(self, delivery: Delivery, verdict: Verdict, now: datetime) -> None:
        self._fail("record")
        await super().record(delivery, verdict, now)

    def _fail(self, what: str) -> None:
        if left := self.failures.get(what):
            raise left.pop()


@pytest.mark.parametrize(
    "failures",
    [
        {"record": [StoreUnavailableError("full"), StoreUnavailableError("full")]},
        {"take": [StoreUnavailableError("full")]},
        {"take": [ValueError("nobody foresaw this")]},
    ],
    ids=["record", "take", "take, unforeseen"],
)
async def test_a_brief_failure_of_the_record_neither_loses_nor_repeats_a_delivery(
    tmp_path: Path, receiver: Receiver, failures: dict[str, list[Exception]]
) -> None:
    def hesitant(database: Database, hub: LocalHub) -> Hesitant:
        return Hesitant(database, hub, **{what: list(errors) for what, errors in failures.items()})

    async with opened(tmp_path / "a.db", outbox=hesitant) as rooms:
        await rooms.until(await rooms.cancelled_job(receiver.url()), "delivered")
    assert len(receiver.received) == 1
