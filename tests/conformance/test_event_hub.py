"""`EventHub`: bells coalesce, and listeners miss none."""

import asyncio

import pytest
from headway.ports.events import Bell, EventHub

LONG_S = 60.0
"""How long a listener waits for a bell that must ring. A passing test never waits that long."""

SOON_S = 10.0
"""Anything slower has waited for its time-out, and that is a failure."""


async def test_a_listener_gets_only_its_kind_of_bell(hub: EventHub) -> None:
    changed, queued = hub.listen(Bell.CHANGED), hub.listen(Bell.QUEUED)
    hub.ring(Bell.CHANGED, "a")
    hub.ring(Bell.QUEUED, "b")
    hub.ring(Bell.CANCEL, "c")
    assert await changed.wait(LONG_S) == {"a"}
    assert await queued.wait(LONG_S) == {"b"}


async def test_a_listener_to_one_job_gets_no_other_jobs_bells(hub: EventHub) -> None:
    one, all_ = hub.listen(Bell.CHANGED, "a"), hub.listen(Bell.CHANGED)
    hub.ring(Bell.CHANGED, "b")
    assert await one.wait(0) == frozenset()
    hub.ring(Bell.CHANGED, "a")
    assert await one.wait(LONG_S) == {"a"}
    assert await all_.wait(LONG_S) == {"a", "b"}


async def test_every_listener_gets_every_bell(hub: EventHub) -> None:
    listeners = [hub.listen(Bell.CHANGED, "a") for _ in range(50)]
    hub.ring(Bell.CHANGED, "a")
    assert await asyncio.gather(*(listener.wait(LONG_S) for listener in listeners)) == [{"a"}] * 50


async def test_many_bells_coalesce_into_a_set_of_ids(hub: EventHub) -> None:
    listener = hub.listen(Bell.CHANGED)
    for number in range(100_000):
        hub.ring(Bell.CHANGED, f"job {number % 3}")
    assert await listener.wait(LONG_S) == {"job 0", "job 1", "job 2"}
    assert await listener.wait(0) == frozenset()


async def test_bells_from_before_listening_are_not_delivered(hub: EventHub) -> None:
    hub.ring(Bell.CHANGED, "a")
    assert await hub.listen(Bell.CHANGED).wait(0) == frozenset()


async def test_a_bell_wakes_a_waiting_listener(hub: EventHub) -> None:
    listener = hub.listen(Bell.CHANGED)
    waiting = asyncio.create_task(listener.wait(LONG_S))
    await asyncio.sleep(0)
    assert not waiting.done()
    hub.ring(Bell.CHANGED, "a")
    async with asyncio.timeout(SOON_S):
        assert await waiting == {"a"}


async def test_a_cancelled_wait_loses_no_bell(hub: EventHub) -> None:
    listener = hub.listen(Bell.CHANGED)
    for rings_first in (True, False):
        waiting = asyncio.create_task(listener.wait(LONG_S))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if rings_first:
            hub.ring(Bell.CHANGED, "a")
        waiting.cancel()
        if not rings_first:
            hub.ring(Bell.CHANGED, "a")
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await listener.wait(0) == {"a"}


async def test_a_bell_at_the_moment_of_a_time_out_is_delivered_by_the_next_wait(hub: EventHub) -> None:
    listener = hub.listen(Bell.CHANGED)
    heard: set[str] = set()
    for number in range(200):
        waiting = asyncio.create_task(listener.wait(0))
        await asyncio.sleep(0)
        hub.ring(Bell.CHANGED, f"{number}")
        heard |= await waiting
    heard |= await listener.wait(0)
    assert heard == {f"{number}" for number in range(200)}


async def test_a_closed_listener_gets_nothing_and_may_be_closed_again(hub: EventHub) -> None:
    listener, other = hub.listen(Bell.CHANGED, "a"), hub.listen(Bell.CHANGED, "a")
    listener.close()
    listener.close()
    hub.ring(Bell.CHANGED, "a")
    assert await listener.wait(0) == frozenset()
    assert await other.wait(LONG_S) == {"a"}


async def test_closing_the_hub_wakes_every_listener_for_good(hub: EventHub) -> None:
    closed_before = hub.closed
    listeners = [hub.listen(Bell.CHANGED, "a"), hub.listen(Bell.CHANGED), hub.listen(Bell.DELETED)]
    waiting = [asyncio.create_task(listener.wait(LONG_S)) for listener in listeners]
    await asyncio.sleep(0)
    hub.close()
    assert (closed_before, hub.closed) == (False, True)
    async with asyncio.timeout(SOON_S):
        assert await asyncio.gather(*waiting) == [frozenset()] * 3
        assert await listeners[0].wait(LONG_S) == frozenset()
        assert await hub.listen(Bell.CHANGED).wait(LONG_S) == frozenset()


async def test_a_bell_before_the_close_is_still_delivered(hub: EventHub) -> None:
    listener = hub.listen(Bell.DELETED)
    hub.ring(Bell.DELETED, "a")
    hub.close()
    assert await listener.wait(LONG_S) == {"a"}
    hub.close()
    hub.ring(Bell.DELETED, "b")
    assert await listener.wait(LONG_S) == {"b"}
