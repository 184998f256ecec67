"""`Channel`: the watchers of one job that are level, behind and ahead."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
from headway.backends.bells import LocalHub
from headway.backends.memory.snapshots import Snapshots
from headway.domain.ids import JobIds
from headway.domain.jobs import Job, LiveJob, NewJob, Status
from headway.domain.progress import Progress
from headway.links import Links
from headway.loops import Loops
from headway.ports.events import Bell
from headway.representation import Encoder
from headway.running.publishing import BATCH
from headway.web.streams.fan_out import Channel, FanOut, Lines, Watcher, news
from headway.web.streams.response import Frame

if TYPE_CHECKING:
    from headway.ports.jobs import Reader

DATA = b'{"any":"job"}'


class Outlet:
    """A stream that notes what it was offered, and refuses when it is told to."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.accepts = True
        self.woken = 0

    def offer(self, frame: Frame) -> bool:
        if self.accepts:
            self.frames.append(frame)
        return self.accepts

    def wake(self) -> None:
        self.woken += 1

    @property
    def text(self) -> bytes:
        return b"".join(frame.text for frame in self.frames)


def a_job(**fields: Any) -> Job:
    """A running job: its first state change was 1, its claim 2; three ticks later."""
    now = datetime.now(UTC)
    job_id, at = JobIds().new(now)
    queued = Job.queued(
        NewJob(id=job_id, owner="local", type="t", input_json="{}", created_at=at, run_at=at, retain_s=60)
    )
    return queued._replace(**{"status": Status.RUNNING, "last_seq": 2, "state_seq": 2, "version": 5, **fields})


def a_line(seq: int) -> tuple[int, bytes]:
    return seq, b"event: log\nid: %d\ndata: {}\n\n" % seq


def watching(channel: Channel, count: int = 1, cursor: int = 2, version: int = 5) -> list[tuple[Outlet, Watcher]]:
    """Watchers that have been sent so much, and joined."""
    found = []
    for _ in range(count):
        outlet = Outlet()
        watcher = Watcher(outlet, cursor)
        watcher.version = version
        assert channel.join(watcher)
        found.append((outlet, watcher))
    return found


class Jobs:
    """The part of the store that the fan-out needs for running jobs without new log lines."""

    def __init__(self, jobs: list[Job]) -> None:
        self.snapshots = {job.id: job for job in jobs}

    def held(self, _caller: str, job_id: str) -> Job | None:
        return self.snapshots.get(job_id)

    def live(self, _caller: str, _job_id: str) -> None:
        """Nothing is known of what was recorded."""

    def tick(self) -> None:
        """The next version of all jobs."""
        self.snapshots = {job.id: job._replace(version=job.version + 1) for job in self.snapshots.values()}


class SlowOutlet(Outlet):
    """As if the machine were busy."""

    def offer(self, frame: Frame) -> bool:
        time.sleep(0.00005)
        return super().offer(frame)


async def test_a_batch_of_progress_is_sent_whole_before_the_next_one_is_published() -> None:
    hub, store, loops = LocalHub(), Jobs([a_job() for _ in range(BATCH)]), Loops()
    fan_out = FanOut(cast("Reader", store), hub, Encoder(Links("")))
    outlets: list[SlowOutlet] = []
    for job in store.snapshots.values():
        outlets.append(SlowOutlet())
        watcher = Watcher(outlets[-1], 2)
        watcher.version = job.version
        assert fan_out.enter(job.id, job.owner).join(watcher)
    fan_out.start(loops)
    for _ in range(3):
        store.tick()
        hub.ring_all(Bell.CHANGED, store.snapshots.keys())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await fan_out.stop()
    assert {len(outlet.frames) for outlet in outlets} == {3}


class Held:
    """A running job as the embedded store holds it, and its fan-out. It is the part of the store that this needs."""

    def __init__(self, hub: LocalHub) -> None:
        self.snapshots = Snapshots()
        self.job = a_job()
        self.snapshots.put(self.job)
        self._hub = hub
        fan_out = FanOut(cast("Reader", self), hub, Encoder(Links("")))
        self.channel = fan_out.enter(self.job.id, self.job.owner)
        self.fan_out = fan_out

    def held(self, _caller: str, job_id: str) -> Job | None:
        return self.snapshots.get(job_id)

    def live(self, _caller: str, job_id: str) -> LiveJob | None:
        return self.snapshots.live(job_id)

    def watch(self) -> Outlet:
        """A watcher that has been sent the job as it is now."""
        outlet = Outlet()
        watcher = Watcher(outlet, self.job.last_seq)
        watcher.version = self.snapshots.version(self.job.id)
        assert self.channel.join(watcher)
        return outlet

    def tick(self, done: int) -> None:
        live = self.snapshots.live(self.job.id)
        assert live is not None
        self.snapshots.tick(live, Progress(done=done), datetime.now(UTC))

    def change(self, **fields: Any) -> None:
        """Something other than a tick."""
        job = self.snapshots.get(self.job.id)
        assert job is not None
        self.snapshots.put(job._replace(version=job.version + 1, **fields))

    async def published(self) -> bytes:
        """Ring, and return the event that a watcher is to be sent."""
        self._hub.ring(Bell.CHANGED, self.job.id)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        job = self.snapshots.get(self.job.id)
        assert job is not None
        return b"data: " + Encoder(Links("")).job(job, None) + b"\n\n"


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    held = Held(LocalHub())
    held.fan_out.start(Loops())
    yield held
    await held.fan_out.stop()


async def test_whatever_changes_a_running_job_between_its_ticks_is_sent(held: Held) -> None:
    outlet = held.watch()
    expected = []
    for done in range(9):
        if done == 3:
            held.change(cancel_requested=True)
        if done == 6:
            held.change(cancel_requested=False, last_seq=3, state_seq=3)
        else:
            held.tick(done)
        expected.append(await held.published())
    expected[6] = b"id: 3\n" + expected[6]
    assert [frame.text for frame in outlet.frames] == expected
    assert [b'"cancelRequested":true' in event for event in expected] == [3 <= done < 6 for done in range(9)]


async def test_a_tick_is_sent_once_however_often_the_bell_rings(held: Held) -> None:
    outlet = held.watch()
    expected = []
    for done in range(3):
        held.tick(done)
        expected.append(await held.published())
        await held.published()
    assert [frame.text for frame in outlet.frames] == expected


async def test_a_watcher_who_has_read_a_tick_that_is_not_published_yet_is_not_sent_it(held: Held) -> None:
    outlet = held.watch()
    held.tick(0)
    await held.published()
    held.tick(1)
    ahead = held.watch()
    first = await held.published()
    held.tick(2)
    second = await held.published()
    assert [frame.text for frame in outlet.frames[1:]] == [first, second]
    assert [frame.text for frame in ahead.frames] == [second]
    assert outlet.frames[-1] is ahead.frames[-1]


@pytest.fixture
def channel() -> Channel:
    return Channel("id", "local")


def test_all_are_handed_one_and_the_same_frame(channel: Channel) -> None:
    watchers = watching(channel, 50)
    channel.publish(a_job(version=6), DATA)
    frames = {id(frame) for outlet, _ in watchers for frame in outlet.frames}
    assert len(frames) == 1
    assert watchers[0][0].text == b'data: {"any":"job"}\n\n'


def test_a_state_that_is_not_newer_is_not_sent(channel: Channel) -> None:
    ((outlet, _),) = watching(channel)
    for version in (5, 4, 6, 6, 5):
        channel.publish(a_job(version=version), DATA)
    assert outlet.text.count(b"data: ") == 1


def test_log_lines_come_before_the_state_and_alone_if_it_is_not_newer(channel: Channel) -> None:
    ((outlet, _),) = watching(channel)
    channel.publish(a_job(last_seq=4), DATA, [a_line(3), a_line(4)])
    assert outlet.text == a_line(3)[1] + a_line(4)[1]
    channel.publish(a_job(last_seq=5, version=6), DATA, [a_line(4), a_line(5)])
    assert outlet.frames[-1].text == a_line(5)[1] + b'data: {"any":"job"}\n\n'


def test_a_change_of_state_carries_the_newest_id(channel: Channel) -> None:
    ((outlet, _),) = watching(channel)
    channel.publish(a_job(last_seq=4, state_seq=4, version=6, status=Status.QUEUED), DATA, [a_line(3)])
    channel.publish(a_job(last_seq=4, state_seq=4, version=7), DATA)
    assert outlet.frames[0].text.endswith(b'id: 4\ndata: {"any":"job"}\n\n')
    assert outlet.frames[1].text == b'data: {"any":"job"}\n\n'


def test_the_first_state_of_a_watcher_always_carries_an_id() -> None:
    assert news(a_job(), DATA, (), 2, 0).startswith(b"id: 2\n")
    assert news(a_job(), DATA, (), 2, 4).startswith(b"data: ")
    assert news(a_job(), DATA, (), 2, 5) == b""


def test_the_end_ends_everybody(channel: Channel) -> None:
    watchers = watching(channel, 3)
    channel.publish(a_job(version=6, last_seq=3, state_seq=3, status=Status.COMPLETED), DATA)
    for outlet, watcher in watchers:
        assert outlet.text == b'id: 3\ndata: {"any":"job"}\n\n'
        assert (watcher.ended, outlet.woken) == (True, 1)
    assert not channel.waiting


def test_a_reader_that_is_behind_is_left_where_it_is_and_the_others_go_on(channel: Channel) -> None:
    (slow, slow_watcher), (quick, quick_watcher) = watching(channel, 2)
    slow.accepts = False
    for version in (6, 7):
        channel.publish(a_job(version=version, last_seq=3, state_seq=2), DATA, [a_line(3)])
    assert (slow.frames, slow.woken, slow_watcher.level) == ([], 1, False)
    assert (slow_watcher.cursor, slow_watcher.version) == (2, 5)
    assert (len(quick.frames), quick.woken, quick_watcher.level) == (2, 0, True)
    slow.accepts = True
    assert not channel.join(slow_watcher), "it must catch up first"
    slow_watcher.cursor, slow_watcher.version = 3, 7
    assert channel.join(slow_watcher)
    channel.publish(a_job(version=8, last_seq=3), DATA)
    assert (len(slow.frames), len(quick.frames)) == (1, 3)


def test_the_last_state_is_not_dropped_for_a_reader_that_is_behind(channel: Channel) -> None:
    ((outlet, watcher),) = watching(channel)
    outlet.accepts = False
    channel.publish(a_job(version=6, last_seq=3, state_seq=3, status=Status.COMPLETED), DATA)
    assert (watcher.ended, watcher.level, outlet.woken) == (False, False, 1)
    assert not channel.join(watcher)


def test_a_reader_ahead_of_the_channel_is_sent_nothing_twice(channel: Channel) -> None:
    ((first, _),) = watching(channel)
    ((late, late_watcher),) = watching(channel, cursor=4, version=7)
    channel.publish(a_job(version=6, last_seq=3), DATA, [a_line(3)])
    assert (len(first.frames), late.frames) == (1, [])
    channel.publish(a_job(version=7, last_seq=5), DATA, [a_line(4), a_line(5)])
    assert first.frames[1].text == a_line(4)[1] + a_line(5)[1] + b'data: {"any":"job"}\n\n'
    assert late.text == a_line(5)[1]
    channel.publish(a_job(version=8, last_seq=5), DATA)
    assert late.frames[-1] is first.frames[-1]
    assert late_watcher.level


def test_pages_of_lines_reach_every_reader_once(channel: Channel) -> None:
    ((first, _),) = watching(channel)
    ((late, _),) = watching(channel, cursor=4, version=6)
    pages: list[Lines] = [[a_line(3), a_line(4)], [a_line(5), a_line(6)]]
    for page in pages:
        channel.publish_lines(page)
    channel.publish(a_job(version=6, last_seq=7), DATA, [a_line(7)])
    assert [first.text.count(b"id: %d\n" % seq) for seq in range(3, 8)] == [1, 1, 1, 1, 1]
    assert [late.text.count(b"id: %d\n" % seq) for seq in range(3, 8)] == [0, 0, 1, 1, 1]
    assert (first.text.count(b"data: {" + DATA[1:]), late.text.count(b"data: {" + DATA[1:])) == (1, 0)


def test_a_deleted_job_ends_every_stream_and_none_can_join(channel: Channel) -> None:
    ((outlet, watcher),) = watching(channel)
    channel.depart(a_job(version=6, last_seq=3, state_seq=3, status=Status.CANCELLED), DATA)
    assert outlet.text == b'id: 3\ndata: {"any":"job"}\n\nevent: gone\ndata: {"jobId":"id"}\n\n'
    assert watcher.ended
    late = Watcher(Outlet(), 2)
    late.version = 5
    assert not channel.join(late), "it must look for itself, or it would wait for ever"


def test_a_job_deleted_after_its_end_was_sent_is_only_gone(channel: Channel) -> None:
    ((outlet, _),) = watching(channel, cursor=3, version=6)
    channel.depart(a_job(version=6, last_seq=3, state_seq=3, status=Status.CANCELLED), DATA)
    assert outlet.text == b'event: gone\ndata: {"jobId":"id"}\n\n'


def test_a_job_that_cannot_be_read_is_left_to_each_watchers_own_task(channel: Channel) -> None:
    watchers = [*watching(channel, 2), *watching(channel, cursor=2, version=7)]
    channel.scatter()
    for outlet, watcher in watchers:
        assert (outlet.woken, watcher.level, watcher.ended, outlet.frames) == (1, False, False, [])
    assert [watcher.version for _, watcher in watchers] == [5, 5, 7]


def test_a_reader_that_left_is_sent_nothing_more(channel: Channel) -> None:
    (outlet, watcher), (other, _) = watching(channel, 2)
    channel.drop(watcher)
    channel.publish(a_job(version=6), DATA)
    assert (outlet.frames, len(other.frames)) == ([], 1)
