"""`Audience`: the frames that streams with one filter share, and what is noted for members that are behind."""

import pytest
from headway.domain.filters import JobFilter
from headway.web.streams.audience import MOST_MISSED, Audience, Event, Member
from headway.web.streams.fan_out import NEVER
from headway.web.streams.response import Frame


class Outlet:
    """A stream that notes what it was offered, and refuses when it is told to."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.accepts = True
        self.woken = 0
        self.cuts = 0

    def offer(self, frame: Frame) -> bool:
        if self.accepts:
            self.frames.append(frame)
        return self.accepts

    def wake(self) -> None:
        self.woken += 1

    def cut(self) -> None:
        self.cuts += 1

    @property
    def text(self) -> str:
        return b"".join(frame.text for frame in self.frames).decode()


def state(job_id: str, version: int, *, stays: bool = True) -> Event:
    return Event(job_id, version, f"{job_id}{version} ".encode(), stays)


def gone(job_id: str) -> Event:
    return Event(job_id, NEVER, f"{job_id}-gone ".encode(), stays=False)


class Room:
    """An audience and its rounds."""

    def __init__(self) -> None:
        self.audience = Audience("local", JobFilter())
        self.round = 0

    def member(self, **held: int) -> tuple[Outlet, Member]:
        """A stream that has been sent its snapshot."""
        outlet = Outlet()
        member = Member(outlet, outlet.cut)
        self.audience.enter(member)
        member.held = held
        return outlet, member

    def joined(self, **held: int) -> tuple[Outlet, Member]:
        outlet, member = self.member(**held)
        self.audience.join(member, self.round)
        return outlet, member

    def ring(self, *events: Event) -> None:
        """A round in which this is new."""
        self.round += 1
        self.audience.note({event.job_id for event in events})
        if events:
            self.audience.send(events)
        self.audience.settle(self.round)


@pytest.fixture
def room() -> Room:
    return Room()


def test_all_are_handed_one_and_the_same_frame(room: Room) -> None:
    outlets = [room.joined(a=1)[0] for _ in range(20)]
    room.ring()
    room.ring(state("a", 2), state("b", 1))
    assert len({id(frame) for outlet in outlets for frame in outlet.frames}) == 1
    assert outlets[0].text == "a2 b1 "


def test_a_member_that_joined_before_a_bell_is_not_sent_its_version_again(room: Room) -> None:
    first, _ = room.joined()
    room.ring()
    late, _ = room.joined(a=1, b=1)  # both rang, and both are in its snapshot
    room.ring(state("a", 1), state("b", 2))
    assert (first.text, late.text) == ("a1 b2 ", "b2 ")
    room.ring(state("a", 2))
    assert late.frames[-1] is first.frames[-1]


def test_what_rings_while_a_round_is_under_way_counts_for_the_next_one(room: Room) -> None:
    room.round += 1  # a round has begun
    late, _ = room.joined(a=3)
    room.audience.settle(room.round)
    room.ring(state("a", 3))
    assert late.text == ""
    room.ring(state("a", 4))
    assert late.text == "a4 "


def test_what_all_hold_is_known_once_nothing_can_ring_any_more(room: Room) -> None:
    room.joined(a=3)
    assert room.audience.sent_version("a") == 0, "a bell may be on its way for somebody else"
    room.ring()
    assert room.audience.sent_version("a") == 3


def test_a_job_that_left_the_filter_is_forgotten_and_one_that_is_gone(room: Room) -> None:
    outlet, _ = room.joined(a=1, b=1)
    room.ring()
    room.ring(state("a", 2, stays=False), gone("b"))
    assert outlet.text == "a2 b-gone "
    assert [room.audience.sent_version(job_id) for job_id in ("a", "b")] == [None, None]


def test_a_reader_that_is_behind_reads_what_it_missed_itself(room: Room) -> None:
    (slow, slow_member), (quick, _) = room.joined(a=1), room.joined(a=1)
    room.ring()
    slow.accepts = False
    room.ring(state("a", 2))
    room.ring(state("a", 3), state("b", 1))
    assert (slow.text, slow.woken, slow_member.level) == ("", 1, False)
    assert {job_id: slow_member.holds(job_id, told) for job_id, told in slow_member.missed.items()} == {
        "a": 1,
        "b": None,
    }
    assert quick.text == "a2 a3 b1 "
    slow.accepts, slow_member.missed = True, {}
    slow_member.sent(state("a", 3))
    slow_member.sent(state("b", 1))
    room.audience.join(slow_member, room.round)
    room.ring(state("b", 2))
    room.ring(state("a", 4))
    assert slow.text == "b2 a4 "


def test_a_job_in_the_snapshot_is_read_again_if_it_rang_meanwhile(room: Room) -> None:
    outlet = Outlet()
    member = Member(outlet, outlet.cut)
    room.audience.enter(member)
    room.ring()  # "a" rang and left the filter, which nobody else holds
    room.audience.note({"a", "b"})
    member.held = {"a": 1}
    room.audience.note({"a", "c"})
    assert set(member.missed) == {"a", "b"}, "c is neither held nor anybody's news"
    assert member.holds("a", member.missed["a"]) == 1


def test_one_that_missed_too_much_is_cut(room: Room) -> None:
    outlet, _ = room.member()
    for number in range(MOST_MISSED + 1):
        room.ring(state(f"j{number}", 1))
        if outlet.cuts:
            break
    assert not outlet.cuts
    room.ring(state("one more", 1))
    assert outlet.cuts


def test_jobs_that_could_not_be_read_are_left_to_each_streams_own_task(room: Room) -> None:
    (level, level_member), (fresh, fresh_member) = room.joined(a=1), room.joined(a=2)
    room.ring()
    room.audience.scatter({"a", "b"})
    for outlet, member in ((level, level_member), (fresh, fresh_member)):
        assert (outlet.woken, member.level, set(member.missed)) == (1, False, {"a", "b"})


def test_an_audience_is_empty_when_the_last_has_left(room: Room) -> None:
    _, member = room.joined()
    assert not room.audience.empty
    room.ring()
    room.audience.leave(member)
    assert room.audience.empty
