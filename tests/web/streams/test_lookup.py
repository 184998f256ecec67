"""A changed job finds its audiences by look-up, and equal filters share a snapshot."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from headway.backends.bells import LocalHub
from headway.backends.sqlite.record import SqliteRecord
from headway.backends.sqlite.store import SqliteStore
from headway.domain.access import EVERY_OWNER
from headway.domain.filters import JobFilter
from headway.domain.jobs import Job, Status
from headway.errors import TooManyStreamsError
from headway.links import Links
from headway.loops import Loops
from headway.ports.events import Bell
from headway.representation import Encoder
from headway.turns import Turns
from headway.web.streams.audience import Audience, Member
from headway.web.streams.audiences import Audiences
from headway.web.streams.lookup import FILTERS_PER_OWNER, Lookup
from headway.web.streams.response import Frame
from headway.web.streams.snapshots import PAUSE_S, ManySnapshots

from tests.conformance.backends import BODY_OF
from tests.conformance.records import at, new_job

OWNER, STRANGER = "ada", "bob"


@pytest.fixture
async def hub() -> LocalHub:
    return LocalHub()


@pytest.fixture
async def store(tmp_path: Path, hub: LocalHub) -> AsyncIterator[SqliteStore]:
    record = await SqliteRecord.open(tmp_path / "record.db", hub, max_queued=100, body_of=BODY_OF)
    yield record.store
    await record.close()


class Outlet:
    """A stream that keeps what it is sent."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()

    def offer(self, frame: Frame) -> bool:
        self.frames.put_nowait(frame.text)
        return True

    def wake(self) -> None:
        """Nothing is waiting."""

    async def next(self) -> bytes:
        return await asyncio.wait_for(self.frames.get(), 10)


def joined(audiences: Audiences, filter: JobFilter, owner: str = OWNER, **held: int) -> Outlet:
    """A stream that has sent its snapshot."""
    outlet = Outlet()
    member = Member(outlet, lambda: None)
    audience = audiences.enter(owner, filter, member)
    member.held = held
    audiences.join(audience, member)
    return outlet


def filters_of_others(job: Job) -> list[JobFilter]:
    """Filters that never show the job, as many as one owner may have but three."""
    by_id = [JobFilter(ids=frozenset({f"id-{n}"}), types=frozenset({job.type})) for n in range(50)]
    return by_id + [JobFilter(types=frozenset({f"type-{n}"})) for n in range(FILTERS_PER_OWNER - 53)]


async def test_a_change_examines_only_the_audiences_that_it_may_concern(
    store: SqliteStore, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await store.insert(new_job(owner=OWNER))
    audiences = Audiences(store, hub, Encoder(Links("")), tick_s=0)
    examined: list[JobFilter] = []
    event = Audiences.event

    async def noted(self: Audiences, audience: Audience, *about: Any) -> Any:
        examined.append(audience.filter)
        return await event(self, audience, *about)

    monkeypatch.setattr(Audiences, "event", noted)
    for filter in filters_of_others(job):
        joined(audiences, filter)
        joined(audiences, filter, STRANGER)
    concerned = [
        JobFilter(types=frozenset({job.type})),
        JobFilter(ids=frozenset({job.id, "id"})),
        JobFilter(statuses=frozenset({Status.QUEUED})),
    ]
    outlets = [joined(audiences, filter) for filter in concerned]
    outlets.append(joined(audiences, JobFilter(), EVERY_OWNER))
    audiences.start(Loops())
    hub.ring(Bell.CHANGED, job.id)
    assert all([job.id.encode() in await outlet.next() for outlet in outlets])
    assert sorted(map(str, examined)) == sorted(map(str, [*concerned, JobFilter()]))
    del examined[:]
    await store.cancel(OWNER, job.id, at(1))
    assert all([b"cancelled" in await outlet.next() for outlet in outlets]), "it left one filter, and is sent once more"
    assert len(examined) == 4
    await audiences.stop()


async def test_the_different_filters_of_an_owner_are_limited() -> None:
    lookup = Lookup()
    audiences = [lookup.get_or_add(OWNER, JobFilter(types=frozenset({str(n)}))) for n in range(FILTERS_PER_OWNER)]
    with pytest.raises(TooManyStreamsError, match=f"{FILTERS_PER_OWNER} different filters are in use"):
        lookup.get_or_add(OWNER, JobFilter())
    assert lookup.get_or_add(OWNER, audiences[3].filter) is audiences[3], "those in use are open to others"
    lookup.get_or_add(STRANGER, JobFilter())
    lookup.remove(audiences[3])
    lookup.get_or_add(OWNER, JobFilter())


async def test_nothing_is_left_of_an_audience_that_has_gone() -> None:
    lookup = Lookup()
    for filter in (JobFilter(), JobFilter(types=frozenset("ab")), JobFilter(ids=frozenset("cd"))):
        lookup.remove(lookup.get_or_add(OWNER, filter))
    assert not lookup
    assert not lookup._at
    assert not lookup._of_owner


async def test_streams_that_wait_for_the_same_snapshot_share_one(
    store: SqliteStore, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await store.insert(new_job(owner=OWNER))
    audiences, reads = Audiences(store, hub, Encoder(Links("")), tick_s=0), []
    snapshots = ManySnapshots(store, Encoder(Links("")), Turns())
    active = SqliteStore.active

    async def noted(*arguments: Any) -> Any:
        reads.append(arguments)
        return await active(*arguments)

    monkeypatch.setattr(SqliteStore, "active", noted)
    members = [Member(Outlet(), lambda: None) for _ in range(20)]
    of = [audiences.enter(OWNER, JobFilter(), member) for member in members]
    made = await asyncio.gather(*map(snapshots.of, of, members))
    assert len(reads) == 1
    assert len({id(text) for text in made}) == 1
    assert made[0].endswith(b'event: ready\ndata: {"total":1}\n\n')
    assert all(member.held == {job.id: job.version} for member in members)
    late = Member(Outlet(), lambda: None)
    await snapshots.of(audiences.enter(OWNER, JobFilter(), late), late)
    assert len(reads) == 2, "who comes later gets the state of then"


async def test_an_owner_who_opens_many_streams_leaves_pauses_for_others(
    store: SqliteStore, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    audiences, pauses = Audiences(store, hub, Encoder(Links("")), tick_s=0), []
    snapshots = ManySnapshots(store, Encoder(Links("")), Turns())
    sleep = asyncio.sleep

    async def noted(pause_s: float) -> None:
        pauses.append(pause_s)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    members = [Member(Outlet(), lambda: None) for _ in range(20)]
    filters = [JobFilter(types=frozenset({str(number % 2)})) for number in range(20)]
    of = [audiences.enter(OWNER, filter, member) for filter, member in zip(filters, members, strict=True)]
    await asyncio.gather(*map(snapshots.of, of, members))
    assert pauses == [PAUSE_S] * 19, "after each but the last"
