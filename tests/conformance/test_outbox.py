"""`Outbox`: deliveries are recorded with the change that they announce, leased, retried and never lost."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from headway.domain.access import EVERY_OWNER
from headway.domain.deliveries import (
    DEFAULT_EVENTS,
    MAX_SECRETS,
    Delivered,
    Delivery,
    DeliveryFilter,
    DeliveryStatus,
    GivenUp,
    Message,
    TryAgain,
    Verdict,
    Webhook,
    WebhookEvent,
)
from headway.domain.jobs import Job, Status
from headway.domain.outcomes import Cancelled, Failed, Interrupted, Outcome, Retry
from headway.errors import SecretRevealedError, TooManySecretsError
from headway.ports.events import Bell, EventHub
from headway.ports.jobs import JobStore
from headway.ports.outbox import Limits, Outbox

from tests.conformance.backends import Backend
from tests.conformance.records import (
    BROKEN,
    DAY_S,
    DONE,
    ERROR,
    OWNER,
    STRANGER,
    UNKNOWN_ID,
    at,
    claim_one,
    claim_up_to,
    finish,
    insert_many,
    new_job,
    running_job,
)

URL = "https://receiver.example/hook?token=1"
WEBHOOK = Webhook(URL)
PROGRESS = Webhook(URL, frozenset(WebhookEvent))
ENDS = Webhook(URL, DEFAULT_EVENTS - {WebhookEvent.STARTED})
LEASE_S = 60.0


@pytest.fixture
def outbox(backend: Backend) -> Outbox:
    return backend.outbox


async def take(
    outbox: Outbox, seconds: float = 0, limit: int = 100, per_host: int = 100, per_owner: int = 100
) -> Sequence[Message]:
    return (await outbox.take(at(seconds), Limits(limit, per_owner, per_host), LEASE_S)).messages


async def take_one(outbox: Outbox, seconds: float = 0) -> Delivery:
    (message,) = await take(outbox, seconds)
    return message.delivery


async def next_at(outbox: Outbox, seconds: float = 0) -> datetime | None:
    """When the next delivery is due. Nothing is due now."""
    return (await outbox.take(at(seconds), Limits(0, 100, 100), LEASE_S)).next_at


def events(messages: Sequence[Message]) -> list[str]:
    return [message.delivery.event.removeprefix("job.") for message in messages]


async def ended_with_webhook(store: JobStore, webhook: Webhook = ENDS, seconds: float = 0, **chosen: Any) -> Job:
    """A job that has completed, with a webhook for its end only."""
    job = await running_job(store, seconds, webhook=webhook, **chosen)
    return await finish(store, job, DONE, seconds)


# Recorded with the change that they announce


async def test_start_and_end_are_announced_with_the_job_as_it_was_then(store: JobStore, outbox: Outbox) -> None:
    job = await running_job(store, webhook=WEBHOOK, label="x")
    ended = await finish(store, job, DONE, 3)
    started, completed = await take(outbox, 3)
    assert (started.delivery.event, completed.delivery.event) == (WebhookEvent.STARTED, WebhookEvent.COMPLETED)
    for message, version, timestamp in (
        (started, job.version, "2026-03-01T12:00:00.000Z"),
        (completed, ended.version, "2026-03-01T12:00:03.000Z"),
    ):
        body = json.loads(message.body)
        assert body.keys() == {"type", "timestamp", "data"}
        assert (body["type"], body["timestamp"]) == (message.delivery.event, timestamp)
        assert (body["data"]["jobId"], body["data"]["label"], body["data"]["version"]) == (job.id, "x", version)
    delivery = completed.delivery
    assert (delivery.job_id, delivery.owner, delivery.url, delivery.host) == (job.id, OWNER, URL, "receiver.example")
    assert (delivery.status, delivery.attempts, delivery.created_at) == (DeliveryStatus.PENDING, 1, at(3))
    assert started.delivery.id < completed.delivery.id


ENDS_OF_A_RUNNING_JOB: dict[str, tuple[Outcome, list[str]]] = {
    "completed": (DONE, ["completed"]),
    "failed": (Failed(ERROR), ["failed"]),
    "cancelled": (Cancelled(), ["cancelled"]),
    "interrupted": (Interrupted(), []),
    "to be retried": (Retry(ERROR, at(0)), []),
}


@pytest.mark.parametrize("name", ENDS_OF_A_RUNNING_JOB)
async def test_every_end_of_a_job_is_announced(store: JobStore, outbox: Outbox, name: str) -> None:
    outcome, told = ENDS_OF_A_RUNNING_JOB[name]
    await finish(store, await running_job(store, webhook=WEBHOOK), outcome)
    assert events(await take(outbox, 5)) == ["started", *told]


async def test_every_start_of_an_attempt_is_announced(store: JobStore, outbox: Outbox) -> None:
    for _ in range(2):
        job = await running_job(store, webhook=WEBHOOK)
        await finish(store, job, Interrupted())
        await claim_one(store, 2)
    assert events(await take(outbox, 5)) == ["started"] * 4


@pytest.mark.parametrize("purge", [False, True])
async def test_the_cancel_of_a_queued_job_is_announced(store: JobStore, outbox: Outbox, purge: bool) -> None:
    job = await store.insert(new_job(webhook=WEBHOOK))
    await (store.delete if purge else store.cancel)(OWNER, job.id, at(1))
    assert events(await take(outbox, 1)) == ["cancelled"]


async def test_the_end_of_a_deleted_job_is_announced_although_it_is_gone(store: JobStore, outbox: Outbox) -> None:
    job = await running_job(store, webhook=ENDS)
    await store.delete(OWNER, job.id, at(1))
    await finish(store, job, DONE, 2)
    (message,) = await take(outbox, 2)
    assert json.loads(message.body)["data"]["status"] == "cancelled"
    await outbox.record(message.delivery, TryAgain(at(5), "no", 500), at(3))
    again = await take_one(outbox, 5)
    await outbox.record(again, Delivered(200), at(6))
    assert await outbox.of_job(job.id, 10) == [], "nothing is left of a deleted job"


async def test_jobs_ended_by_recovery_are_announced(backend: Backend) -> None:
    await running_job(backend.store, webhook=ENDS)
    cancelled = await running_job(backend.store, webhook=ENDS)
    await backend.store.cancel(OWNER, cancelled.id, at(1))
    await backend.crash()
    await (await backend.open()).recover(at(2), max_recoveries=0)
    assert sorted(events(await take(backend.outbox, 2))) == ["cancelled", "failed"]


async def test_only_requested_events_are_announced(store: JobStore, outbox: Outbox) -> None:
    for event in (WebhookEvent.STARTED, WebhookEvent.FAILED):
        await finish(store, await running_job(store, webhook=Webhook(URL, frozenset({event}))), DONE)
    assert events(await take(outbox, 5)) == ["started"]


async def test_a_job_without_a_webhook_announces_nothing(store: JobStore, outbox: Outbox, hub: EventHub) -> None:
    listener = hub.listen(Bell.OUTBOX)
    await finish(store, await running_job(store), DONE)
    assert await take(outbox, 5) == []
    assert await next_at(outbox) is None
    assert await listener.wait(0) == frozenset()


async def test_the_outbox_bell_rings_when_a_delivery_can_be_taken(
    store: JobStore, outbox: Outbox, hub: EventHub
) -> None:
    listener = hub.listen(Bell.OUTBOX)
    job = await running_job(store, webhook=WEBHOOK)
    assert await listener.wait(1) == {job.id}
    assert events(await take(outbox)) == ["started"]
    await finish(store, job)
    assert await listener.wait(1) == {job.id}


async def test_a_job_keeps_its_webhook(backend: Backend) -> None:
    job = await backend.store.insert(new_job(webhook=PROGRESS))
    await backend.crash()
    assert (await (await backend.open()).get(OWNER, job.id)).webhook == PROGRESS


async def test_a_change_that_was_not_recorded_is_not_announced(store: JobStore, outbox: Outbox) -> None:
    job = await running_job(store, webhook=ENDS)
    await finish(store, job, DONE)
    with pytest.raises(Exception, match="is not current"):
        await finish(store, job, BROKEN)
    assert events(await take(outbox, 5)) == ["completed"]


# Progress


async def test_only_the_newest_progress_is_announced_at_most_every_ten_seconds(
    backend: Backend, store: JobStore, outbox: Outbox
) -> None:
    job = await running_job(store, webhook=Webhook(URL, frozenset({WebhookEvent.PROGRESS})))
    await told_progress(backend, job, 10, 1)
    await told_progress(backend, job, 20, 2)
    (message,) = await take(outbox, 2)
    assert json.loads(message.body)["data"]["progress"] == 20
    await outbox.record(message.delivery, Delivered(200), at(3))
    await told_progress(backend, job, 30, 4)
    await told_progress(backend, job, 40, 5)
    assert await take(outbox, 11.9) == []
    assert await next_at(outbox) == at(12)
    (message,) = await take(outbox, 12)
    assert json.loads(message.body)["data"]["progress"] == 40
    await outbox.record(message.delivery, Delivered(200), at(13))
    assert len(await outbox.of_job(job.id, 10)) == 1, "superseded progress is deleted"


async def told_progress(backend: Backend, job: Job, percent: float, seconds: float) -> None:
    """Publish progress and bring it to disk."""
    await backend.tick_to_disk(job, percent, seconds)


async def test_the_end_supersedes_progress_that_was_not_sent(backend: Backend, store: JobStore, outbox: Outbox) -> None:
    job = await running_job(store, webhook=PROGRESS)
    await told_progress(backend, job, 10, 1)
    await finish(store, job, DONE, 2)
    assert events(await take(outbox, 2)) == ["started", "completed"]


async def test_failed_progress_is_not_retried_after_the_end(backend: Backend, store: JobStore, outbox: Outbox) -> None:
    job = await running_job(store, webhook=Webhook(URL, PROGRESS.events - {WebhookEvent.STARTED}))
    await told_progress(backend, job, 10, 1)
    sent = await take_one(outbox, 1)
    await finish(store, job, DONE, 2)
    await outbox.record(sent, TryAgain(at(3), "no", 500), at(2))
    assert events(await take(outbox, 60)) == ["completed"]
    assert [delivery.status for delivery in await outbox.of_job(job.id, 10)] == ["pending", "failed"]


# Leasing


async def test_a_leased_delivery_is_not_taken_again_until_the_lease_ends(store: JobStore, outbox: Outbox) -> None:
    await ended_with_webhook(store)
    first = await take_one(outbox)
    assert await take(outbox, LEASE_S - 0.1) == []
    assert await next_at(outbox, 1) == at(LEASE_S)
    second = await take_one(outbox, LEASE_S)
    assert (second.id, first.attempts, second.attempts) == (first.id, 1, 2)
    assert second.tries == 1, "nothing is known of the first attempt"
    # The first holder returns too late.
    await outbox.record(first, GivenUp("too late"), at(LEASE_S))
    await outbox.record(second, Delivered(204), at(LEASE_S + 1))
    (delivery,) = await outbox.of_job(first.job_id, 10)
    assert (delivery.status, delivery.last_status, delivery.last_error) == (DeliveryStatus.DELIVERED, 204, None)
    assert delivery.delivered_at == at(LEASE_S + 1)


async def test_simultaneous_takers_get_each_delivery_once(store: JobStore, outbox: Outbox) -> None:
    for _ in range(20):
        await ended_with_webhook(store)
    taken = await asyncio.gather(*(take(outbox, 1, limit=3) for _ in range(10)))
    ids = [message.delivery.id for messages in taken for message in messages]
    assert len(ids) == len(set(ids)) == 20


async def test_a_limited_take_gets_the_longest_due(store: JobStore, outbox: Outbox) -> None:
    jobs = [await ended_with_webhook(store, seconds=seconds) for seconds in range(5)]
    assert [message.delivery.job_id for message in await take(outbox, 9, limit=2)] == [job.id for job in jobs[:2]]
    assert [message.delivery.job_id for message in await take(outbox, 9)] == [job.id for job in jobs[2:]]


async def test_deliveries_to_one_host_are_limited_without_holding_up_others(store: JobStore, outbox: Outbox) -> None:
    for _ in range(6):
        await ended_with_webhook(store)
    other = await ended_with_webhook(store, Webhook("https://other.example/", ENDS.events), 1)
    taken = await take(outbox, 1, per_host=4)
    assert [message.delivery.host for message in taken] == ["receiver.example"] * 4 + ["other.example"]
    assert taken[-1].delivery.job_id == other.id
    assert await take(outbox, 1, per_host=4) == []
    await outbox.record(taken[0].delivery, Delivered(200), at(2))
    assert len(await take(outbox, 2, per_host=4)) == 1


async def test_one_owner_does_not_hold_up_another_at_the_same_host(store: JobStore, outbox: Outbox) -> None:
    for _ in range(3):
        await ended_with_webhook(store)
    assert len(await take(outbox, 0, per_host=1)) == 1
    await ended_with_webhook(store, owner=STRANGER)
    assert (await take(outbox, 0, per_host=1))[0].delivery.owner == STRANGER


async def test_a_failing_host_gets_one_delivery_at_a_time_until_it_answers(store: JobStore, outbox: Outbox) -> None:
    for _ in range(10):
        await ended_with_webhook(store)
    first, second = await take(outbox, per_host=2)
    await outbox.record(first.delivery, TryAgain(at(100), "no", 500), at(1))
    await outbox.record(second.delivery, TryAgain(at(100), "no", 500), at(1))
    (probe,) = await take(outbox, 2, per_host=4)
    assert await take(outbox, 2, per_host=4) == []
    await outbox.record(probe.delivery, Delivered(200), at(3))
    assert len(await take(outbox, 3, per_host=4)) == 4


@pytest.mark.parametrize(
    ("verdict", "rest_s"),
    [
        (TryAgain(at(100), "no answer"), 1.0),
        (GivenUp("no answer"), 1.0),
        (TryAgain(at(100), "overloaded", 503), 1.0),
        (TryAgain(at(100), "no", 500), 0.0),
        (Delivered(200), 0.0),
    ],
)
async def test_a_host_that_does_not_answer_gets_a_pause(
    store: JobStore, outbox: Outbox, verdict: Verdict, rest_s: float
) -> None:
    for _ in range(3):
        await ended_with_webhook(store)
    (message,) = await take(outbox, 1, limit=1)
    await outbox.record(message.delivery, verdict, at(2))
    await ended_with_webhook(store, seconds=2)
    assert len(await take(outbox, 2.0, limit=1)) == (0 if rest_s else 1)
    if rest_s:
        assert await next_at(outbox) == at(2 + rest_s)
    assert len(await take(outbox, 2 + rest_s + LEASE_S, limit=1)) == 1


async def test_an_owner_with_many_hosts_leaves_room_for_others(store: JobStore, outbox: Outbox) -> None:
    for number in range(10):
        await ended_with_webhook(store, Webhook(f"https://host-{number}.example/", ENDS.events))
    await ended_with_webhook(store, seconds=1, owner=STRANGER)
    taken = await take(outbox, 1, limit=8, per_owner=5)
    assert [message.delivery.owner for message in taken] == [OWNER] * 5 + [STRANGER]
    await outbox.record(taken[0].delivery, Delivered(200), at(2))
    assert [message.delivery.owner for message in await take(outbox, 2, per_owner=5)] == [OWNER]


# Retrying


async def test_a_failed_delivery_is_due_again_at_the_verdicts_time(store: JobStore, outbox: Outbox) -> None:
    job = await ended_with_webhook(store)
    sent = await take_one(outbox)
    (under_way,) = await outbox.of_job(job.id, 10)
    assert (under_way.attempts, under_way.next_attempt_at, under_way.last_attempt_at) == (1, None, at(0))
    await outbox.record(sent, TryAgain(at(305), "The receiver answered 500.", 500), at(2))
    (waiting,) = await outbox.of_job(job.id, 10)
    assert (waiting.status, waiting.next_attempt_at) == (DeliveryStatus.PENDING, at(305))
    assert (waiting.last_status, waiting.last_error) == (500, "The receiver answered 500.")
    assert await take(outbox, 304.9) == []
    assert await next_at(outbox, 3) == at(305)
    again = await take_one(outbox, 305)
    assert (again.id, again.attempts, again.tries) == (sent.id, 2, 2)


async def test_after_the_last_attempt_a_delivery_has_failed(store: JobStore, outbox: Outbox) -> None:
    job = await ended_with_webhook(store)
    await outbox.record(await take_one(outbox), GivenUp("The address is refused."), at(1))
    (delivery,) = await outbox.of_job(job.id, 10)
    assert (delivery.status, delivery.last_error) == (DeliveryStatus.FAILED, "The address is refused.")
    assert (delivery.next_attempt_at, delivery.delivered_at) == (None, None)
    assert await take(outbox, 9_999_999) == []
    assert await next_at(outbox) is None


@pytest.mark.parametrize("verdict", [Delivered(200), GivenUp("no", 400)])
async def test_an_ended_delivery_can_be_redelivered(
    store: JobStore, outbox: Outbox, hub: EventHub, verdict: Delivered | GivenUp
) -> None:
    job = await ended_with_webhook(store)
    sent = await take_one(outbox)
    await outbox.record(sent, verdict, at(1))
    listener = hub.listen(Bell.OUTBOX)
    asked = await outbox.redeliver(job.id, sent.id, at(50))
    assert asked is not None
    assert (asked.status, asked.next_attempt_at, asked.delivered_at) == (DeliveryStatus.PENDING, at(50), None)
    assert await listener.wait(1) == {job.id}
    again = await take_one(outbox, 50)
    assert (again.id, again.attempts, again.tries) == (sent.id, 2, 1)


async def test_redelivering_makes_a_pending_delivery_due_and_leaves_one_under_way(
    store: JobStore, outbox: Outbox
) -> None:
    job = await ended_with_webhook(store)
    sent = await take_one(outbox)
    unchanged = await outbox.redeliver(job.id, sent.id, at(1))
    assert unchanged is not None
    assert (unchanged.attempts, unchanged.next_attempt_at) == (1, None)
    assert await take(outbox, 1) == []
    await outbox.record(sent, TryAgain(at(9999), "no", 500), at(2))
    await outbox.redeliver(job.id, sent.id, at(3))
    assert (await take_one(outbox, 3)).tries == 1


async def test_only_a_delivery_of_the_job_can_be_redelivered(store: JobStore, outbox: Outbox) -> None:
    job, other = await ended_with_webhook(store), await ended_with_webhook(store)
    (delivery,) = await outbox.of_job(job.id, 10)
    assert await outbox.redeliver(other.id, delivery.id, at(1)) is None
    assert await outbox.redeliver(job.id, UNKNOWN_ID, at(1)) is None


async def test_deliveries_are_listed_newest_first(store: JobStore, outbox: Outbox) -> None:
    job = await finish(store, await running_job(store, webhook=WEBHOOK), BROKEN)
    assert [delivery.event for delivery in await outbox.of_job(job.id, 10)] == ["job.failed", "job.started"]
    assert [delivery.event for delivery in await outbox.of_job(job.id, 1)] == ["job.failed"]
    assert await outbox.of_job(UNKNOWN_ID, 10) == []


# Receivers that are gone


async def test_a_410_ends_pending_deliveries_of_that_owner_to_that_url_only(store: JobStore, outbox: Outbox) -> None:
    ended = [await ended_with_webhook(store) for _ in range(3)]
    other = await ended_with_webhook(store, Webhook(URL + "&other", ENDS.events))
    stranger = await ended_with_webhook(store, owner=STRANGER)
    (message, *_) = await take(outbox, limit=1)
    await outbox.record(message.delivery, GivenUp("The receiver answered 410.", 410, gone=True), at(1))
    for job in ended:
        assert [delivery.status for delivery in await outbox.of_job(job.id, 10)] == ["failed"]
    taken = {message.delivery.job_id for message in await take(outbox, 9_999)}
    assert taken == {other.id, stranger.id}


async def test_a_delivery_under_way_at_a_410_is_not_retried(store: JobStore, outbox: Outbox) -> None:
    for _ in range(2):
        await ended_with_webhook(store)
    first, second = await take(outbox)
    await outbox.record(first.delivery, GivenUp("gone", 410, gone=True), at(1))
    await outbox.record(second.delivery, TryAgain(at(9), "no", 500), at(2))
    assert await take(outbox, 9_999) == []


async def test_after_a_410_older_jobs_announce_nothing_and_later_ones_do(store: JobStore, outbox: Outbox) -> None:
    before = await running_job(store, webhook=WEBHOOK)
    started = await take_one(outbox)
    await outbox.record(started, GivenUp("gone", 410, gone=True), at(5))
    await finish(store, before, DONE, 6)
    assert [delivery.event for delivery in await outbox.of_job(before.id, 10)] == ["job.started"]
    later = await ended_with_webhook(store, seconds=7)
    assert (await take_one(outbox, 7)).job_id == later.id


async def test_a_receiver_that_accepts_a_redelivery_after_its_410_is_sent_more(store: JobStore, outbox: Outbox) -> None:
    before = await running_job(store, webhook=WEBHOOK)
    started = await take_one(outbox)
    await outbox.record(started, GivenUp("gone", 410, gone=True), at(5))
    await outbox.redeliver(before.id, started.id, at(6))
    await outbox.record(await take_one(outbox, 6), Delivered(200), at(7))
    await finish(store, before, DONE, 8)
    assert events(await take(outbox, 8)) == ["completed"]


async def test_a_410_outlives_a_restart(backend: Backend) -> None:
    job = await running_job(backend.store, webhook=WEBHOOK)
    await backend.outbox.record(await take_one(backend.outbox), GivenUp("gone", 410, gone=True), at(5))
    await backend.crash()
    store = await backend.open()
    await store.recover(at(6), 3)
    await finish(store, (await claim_one(store, 6)).job, DONE, 7)
    assert len(await backend.outbox.of_job(job.id, 10)) == 1


async def test_a_410_ends_thousands_of_deliveries_without_blocking_other_writes(
    store: JobStore, outbox: Outbox
) -> None:
    await insert_many(store, 4_000, webhook=ENDS)
    claims = await claim_up_to(store, {"report": 4_000}, 4_000, seconds=0)
    await asyncio.gather(*(finish(store, claim.job) for claim in claims.claims))
    (message,) = await take(outbox, 1, limit=1)
    recording = asyncio.create_task(outbox.record(message.delivery, GivenUp("gone", 410, gone=True), at(2)))
    for _ in range(3):
        await store.insert(new_job())
    assert not recording.done(), "the 410 occupied the writer until all had ended"
    await recording
    assert await take(outbox, 9_999) == []


# Keeping


async def test_after_a_crash_leased_deliveries_are_due_at_once(backend: Backend) -> None:
    for _ in range(2):
        await ended_with_webhook(backend.store)
    (taken,) = await take(backend.outbox, limit=1)
    await backend.crash()
    await backend.open()
    assert await backend.outbox.recover(at(1)) == 1
    again = await take(backend.outbox, 1)
    assert len(again) == 2
    assert {(message.delivery.attempts, message.delivery.tries) for message in again} == {(1, 1), (2, 1)}
    assert {message.body for message in again} >= {taken.body}


async def test_a_clock_that_was_ahead_does_not_lengthen_the_wait(backend: Backend) -> None:
    ahead_s = 30.0 * DAY_S
    tried, new = [await ended_with_webhook(backend.store, seconds=ahead_s) for _ in range(2)]
    (message,) = await take(backend.outbox, ahead_s, limit=1)
    await backend.outbox.record(message.delivery, TryAgain(at(ahead_s + 300), "no", 500), at(ahead_s))
    await backend.close()
    await backend.open()
    await backend.outbox.recover(at(0))
    due_now = await take_one(backend.outbox, 0)
    assert due_now.job_id == new.id
    await backend.outbox.record(due_now, Delivered(200), at(1))
    assert await take(backend.outbox, 299) == []
    assert (await take_one(backend.outbox, 300)).job_id == tried.id


async def test_a_scheduled_retry_keeps_its_time_across_a_restart(backend: Backend) -> None:
    await ended_with_webhook(backend.store)
    await backend.outbox.record(await take_one(backend.outbox), TryAgain(at(300), "no", 500), at(1))
    await backend.crash()
    await backend.open()
    await backend.outbox.recover(at(2))
    assert await take(backend.outbox, 299) == []
    assert await next_at(backend.outbox) == at(300)
    assert len(await take(backend.outbox, 300)) == 1


async def test_ended_deliveries_are_deleted_with_their_job_and_pending_ones_are_not(
    store: JobStore, outbox: Outbox
) -> None:
    job = await running_job(store, webhook=WEBHOOK)
    await outbox.record(await take_one(outbox), Delivered(200), at(0))
    await finish(store, job, DONE)
    await store.delete(OWNER, job.id, at(2))
    assert [delivery.event for delivery in await outbox.of_job(job.id, 10)] == ["job.completed"]
    assert events(await take(outbox, 2)) == ["completed"]


async def test_the_deliveries_of_an_expired_job_are_deleted(store: JobStore, outbox: Outbox) -> None:
    job = await ended_with_webhook(store, retain_s=10.0)
    await outbox.record(await take_one(outbox), Delivered(200), at(1))
    assert await store.expire(at(20), 10) == 1
    assert await outbox.of_job(job.id, 10) == []


async def test_a_delivery_is_deleted_a_week_after_its_end(store: JobStore, outbox: Outbox) -> None:
    job = await finish(store, await running_job(store, webhook=WEBHOOK, retain_s=99.0 * DAY_S), DONE)
    (started, _) = await take(outbox, 1)
    await outbox.record(started.delivery, Delivered(200), at(1))
    assert await outbox.expire(at(7 * DAY_S), 10) == 0
    assert await outbox.expire(at(7 * DAY_S + 1), 10) == 1
    assert [delivery.event for delivery in await outbox.of_job(job.id, 10)] == ["job.completed"]


# Secrets


async def test_a_secret_is_created_once(backend: Backend) -> None:
    asked = await asyncio.gather(*(backend.outbox.secrets(OWNER, at(0)) for _ in range(10)))
    ((secret,),) = {tuple(secrets) for secrets in asked}
    assert secret.text.startswith("whsec_")
    assert secret.text not in repr(secret)
    await backend.crash()
    await backend.open()
    assert list(await backend.outbox.secrets(OWNER, at(1))) == [secret]
    assert (await backend.outbox.secrets(STRANGER, at(1)))[0].text != secret.text


async def test_after_a_rotation_both_secrets_sign_until_the_overlap_is_over(outbox: Outbox) -> None:
    (old,) = await outbox.secrets(OWNER, at(0))
    new, kept = await outbox.rotate_secret(OWNER, at(10), 60)
    assert new.text != old.text
    assert (kept.text, kept.expires_at, new.expires_at) == (old.text, at(70), None)
    assert await outbox.secrets(OWNER, at(69.9)) == [new, kept]
    assert await outbox.secrets(OWNER, at(70)) == [new]
    await outbox.expire(at(71), 10)
    assert await outbox.secrets(OWNER, at(11)) == [new], "expired secrets are deleted"


async def test_a_rotation_without_overlap_ends_every_older_secret(outbox: Outbox) -> None:
    await outbox.secrets(OWNER, at(0))
    await outbox.rotate_secret(OWNER, at(1), 1000)
    (new,) = await outbox.rotate_secret(OWNER, at(2), 0)
    assert await outbox.secrets(OWNER, at(3)) == [new]


async def test_the_first_rotation_needs_no_older_secret(outbox: Outbox) -> None:
    (new,) = await outbox.rotate_secret(OWNER, at(0), 60)
    assert list(await outbox.secrets(OWNER, at(1))) == [new]


async def test_at_most_five_secrets_sign_and_a_refused_rotation_changes_nothing(outbox: Outbox) -> None:
    await outbox.secrets(OWNER, at(0))
    for _ in range(MAX_SECRETS - 1):
        signing = await outbox.rotate_secret(OWNER, at(1), 1000)
    with pytest.raises(TooManySecretsError):
        await outbox.rotate_secret(OWNER, at(2), 10)
    assert await outbox.secrets(OWNER, at(900)) == signing, "the refused rotation has shortened the overlap"
    (new,) = await outbox.rotate_secret(OWNER, at(3), 0)
    assert await outbox.secrets(OWNER, at(4)) == [new]


async def test_a_secret_is_revealed_once(backend: Backend) -> None:
    asked = await asyncio.gather(
        *(backend.outbox.reveal_secret(OWNER, at(1)) for _ in range(5)), return_exceptions=True
    )
    (revealed,) = [each for each in asked if not isinstance(each, BaseException)]
    assert [type(each) for each in asked if isinstance(each, BaseException)] == [SecretRevealedError] * 4
    assert (revealed.revealed_at, revealed.text in repr(revealed)) == (at(1), False)
    await backend.crash()
    await backend.open()
    assert list(await backend.outbox.secrets(OWNER, at(2))) == [revealed]
    with pytest.raises(SecretRevealedError, match="2026"):
        await backend.outbox.reveal_secret(OWNER, at(3))
    assert (await backend.outbox.reveal_secret(STRANGER, at(3))).text != revealed.text


async def test_a_new_secret_can_be_revealed_unless_the_rotation_revealed_it(outbox: Outbox) -> None:
    await outbox.reveal_secret(OWNER, at(0))
    new, _ = await outbox.rotate_secret(OWNER, at(1), 60)
    assert (await outbox.reveal_secret(OWNER, at(2))).text == new.text
    newest = (await outbox.rotate_secret(OWNER, at(3), 60, revealed=True))[0]
    assert newest.revealed_at == at(3)
    with pytest.raises(SecretRevealedError):
        await outbox.reveal_secret(OWNER, at(4))


async def pages(outbox: Outbox, caller: str, limit: int, **chosen: Any) -> list[list[str]]:
    """The ids of the deliveries on each page."""
    found: list[list[str]] = []
    cursor = None
    while True:
        page = await outbox.page(caller, DeliveryFilter(**chosen), limit, cursor)
        found.append([delivery.id for delivery in page.deliveries])
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_deliveries_are_listed_newest_first_for_those_who_may_see_them(store: JobStore, outbox: Outbox) -> None:
    for owner in (OWNER, STRANGER, OWNER, OWNER):
        await finish(store, await running_job(store, webhook=ENDS, owner=owner), DONE)
    mine, foreign, all_of_them = [
        [each for page in await pages(outbox, caller, 10) for each in page] for caller in (OWNER, STRANGER, EVERY_OWNER)
    ]
    assert (len(mine), len(foreign)) == (3, 1)
    assert all_of_them == sorted(mine + foreign, reverse=True)
    assert await pages(outbox, OWNER, 2) == [mine[:2], mine[2:]]


async def test_deliveries_are_filtered_by_state_event_and_host(store: JobStore, outbox: Outbox) -> None:
    elsewhere = Webhook("https://other.example:8443/hook", DEFAULT_EVENTS)
    for webhook in (WEBHOOK, elsewhere):
        await finish(store, await running_job(store, webhook=webhook), DONE)
    for message in await take(outbox, 5):
        if message.delivery.host == "receiver.example":
            await outbox.record(message.delivery, Delivered(200), at(6))
    (everything,) = await pages(outbox, OWNER, 10)
    assert len(everything) == 4
    expected: list[tuple[dict[str, Any], int]] = [
        ({"statuses": frozenset({DeliveryStatus.DELIVERED})}, 2),
        ({"statuses": frozenset({DeliveryStatus.FAILED})}, 0),
        ({"events": frozenset({WebhookEvent.STARTED})}, 2),
        ({"hosts": frozenset({"other.example:8443"})}, 2),
        ({"hosts": frozenset({"other.example:8443"}), "events": frozenset({WebhookEvent.COMPLETED})}, 1),
    ]
    for chosen, count in expected:
        (found,) = await pages(outbox, OWNER, 10, **chosen)
        assert (len(found), set(found) <= set(everything)) == (count, True), chosen


async def test_a_page_looks_at_a_limited_number_of_deliveries_and_says_where_it_stopped(
    store: JobStore, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headway.backends.sqlite.outbox.LOOKED_AT", 3)
    first = await ended_with_webhook(store, Webhook("https://first.example/", ENDS.events))
    for _ in range(6):
        await ended_with_webhook(store)
    found = await pages(outbox, OWNER, 10, hosts=frozenset({"first.example"}))
    (delivery,) = await outbox.of_job(first.id, 10)
    assert found == [[], [], [delivery.id]]


async def test_the_body_has_the_jobs_status(store: JobStore, outbox: Outbox) -> None:
    await finish(store, await running_job(store, webhook=WEBHOOK), BROKEN)
    told = [json.loads(message.body)["data"]["status"] for message in await take(outbox, 5)]
    assert told == [Status.RUNNING, Status.FAILED]
