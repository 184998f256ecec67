"""`Channel`: the watchers of one job that are level, behind and ahead."""

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
from headway.backends.bells import LocalHub
from headway.domain.ids import JobIds
from headway.domain.jobs import Job, NewJob, Status
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
