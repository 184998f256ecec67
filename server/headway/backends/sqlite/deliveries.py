"""What happens to deliveries inside a transaction: plain functions on the writer's connection, in the writer's thread.

Due ones are found by way of `receivers`, one row for each owner and host that something is pending for. Its `due_at`
may be too early, which costs a look, but is never too late.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from ...domain.deliveries import (
    REST_S,
    Delivered,
    Delivery,
    DeliveryStatus,
    GivenUp,
    Message,
    SigningSecret,
    TryAgain,
    Verdict,
    WebhookEvent,
    needs_rest,
)
from ...domain.ids import JobIds
from ...domain.instants import from_ms, to_ms
from ...domain.jobs import Job
from ...ports.outbox import Limits
from .rows import Parameters, Row
from .statements import SQL

PROGRESS_EVERY_MS = 10_000
GIVEN_UP_AT_ONCE = 500
GONE_FOR_JOB = "The receiver answered 410 to another delivery."

BodyOf = Callable[[WebhookEvent, Job], str]
"""Makes what a receiver is sent; called in the writer's thread."""


# Written with the change that they tell of


def write(
    connection: sqlite3.Connection, announced: Iterable[tuple[WebhookEvent, Job]], body_of: BodyOf, ids: JobIds
) -> None:
    """Put what has happened to jobs into the outbox: the deliveries are committed with it."""
    for event, job in announced:
        webhook = job.webhook
        if webhook is None or _is_gone(connection, job.owner, webhook.url, job.created_at):
            continue
        due_at = job.updated_at
        if WebhookEvent.PROGRESS in webhook.events:
            due_at = _after_progress(connection, event, job)
        where: Parameters = {"owner": job.owner, "host": webhook.host, "due_at": to_ms(due_at)}
        connection.execute(SQL["await_receiver"], where)
        delivery_id, _ = ids.new(job.updated_at)
        where |= {"id": delivery_id, "job_id": job.id, "event": event.value, "url": webhook.url}
        where |= {"created_at": to_ms(job.updated_at), "body": body_of(event, job)}
        connection.execute(SQL["insert_delivery"], where)


def _after_progress(connection: sqlite3.Connection, event: WebhookEvent, job: Job) -> datetime:
    """Of progress only the newest counts, and nothing of it after another event; when this one may be sent."""
    where: Parameters = {"job_id": job.id, "pause_ms": PROGRESS_EVERY_MS}
    next_ms = connection.execute(SQL["next_progress"], where).fetchone()[0]
    connection.execute(SQL["delete_progress_deliveries"], where)
    if event is not WebhookEvent.PROGRESS or next_ms is None:
        return job.updated_at
    return max(job.updated_at, from_ms(next_ms))


def _is_gone(connection: sqlite3.Connection, owner: str, url: str, since: datetime) -> bool:
    where: Parameters = {"owner": owner, "url": url, "since": to_ms(since)}
    return connection.execute(SQL["is_gone"], where).fetchone() is not None


def delete_of_job(connection: sqlite3.Connection, job: Job) -> None:
    """With the job go its deliveries that have ended; what is pending is still said."""
    connection.execute(SQL["delete_deliveries_of_job"], {"job_id": job.id})


# Sent


def take(
    connection: sqlite3.Connection, now: datetime, limits: Limits, lease: timedelta
) -> tuple[list[Message], datetime | None]:
    """The messages to send now, and when it is worth another look."""
    messages: list[Message] = []
    under_way = Counter(dict(connection.execute(SQL["taken_by_owner"]).fetchall()))
    while len(messages) < limits.at_once:
        where: Parameters = {"now": to_ms(now), "limit": limits.at_once - len(messages)}
        where |= {"full": _full(under_way, limits)}
        receivers = connection.execute(SQL["due_receivers"], where).fetchall()
        if not receivers:
            break
        for owner, host, rests_until in receivers:
            where = {"owner": owner, "host": host, "now": to_ms(now), "leased_until": to_ms(now + lease)}
            room = min(limits.at_once - len(messages), limits.per_owner - under_way[owner])
            if rests_until is None or rests_until <= to_ms(now):
                taken = _take_from(connection, where, limits.per_host if rests_until is None else 1, room)
                messages += taken
                under_way[owner] += len(taken)
            else:
                _look_again(connection, where)
    row = connection.execute(SQL["next_receiver"], {"full": _full(under_way, limits)}).fetchone()
    return messages, None if row is None else from_ms(row[0])


def _full(under_way: Mapping[str, int], limits: Limits) -> str:
    """The owners for whom nothing more can be taken, as JSON."""
    return json.dumps([owner for owner, taken in under_way.items() if taken >= limits.per_owner])


def _take_from(connection: sqlite3.Connection, where: Parameters, at_once: int, limit: int) -> list[Message]:
    """At most `limit` due deliveries for one host, of which no more than `at_once` are under way then."""
    connection.execute(SQL["release_leases"], where)
    places = at_once - int(connection.execute(SQL["count_taken"], where).fetchone()[0])
    rows: list[Row] = []
    if min(places, limit) > 0:
        rows = connection.execute(SQL["take_deliveries"], where | {"limit": min(places, limit)}).fetchall()
    _look_again(connection, where, full=len(rows) >= places)
    return sorted(to_message(row) for row in rows)


def _look_again(connection: sqlite3.Connection, where: Parameters, *, full: bool = False) -> None:
    """Note when something for this host is due next: if it is `full`, when the first lease ends."""
    found = [connection.execute(SQL["first_due"], where | {"taken": taken}).fetchone()[0] for taken in (0, 1)]
    instants = [at for at in (found[1:] if full else found) if at is not None]
    if instants:
        connection.execute(SQL["look_again"], where | {"due_at": min(instants)})
    else:
        connection.execute(SQL["forget_receiver"], where)


def record(connection: sqlite3.Connection, delivery: Delivery, verdict: Verdict, now: datetime) -> None:
    """Record what an attempt came to; nothing, if the attempt is not the delivery's current one."""
    if isinstance(verdict, TryAgain) and _is_in_vain(connection, delivery):
        verdict = GivenUp(verdict.error, verdict.status)
    where: Parameters = {
        "id": delivery.id,
        "job_id": delivery.job_id,
        "attempts": delivery.attempts,
        "owner": delivery.owner,
        "host": delivery.host,
        "now": to_ms(now),
        "last_status": verdict.status,
        "last_error": None if isinstance(verdict, Delivered) else verdict.error,
    }
    if isinstance(verdict, TryAgain):
        done = connection.execute(SQL["postpone_delivery"], where | {"due_at": to_ms(verdict.at)})
    else:
        status = DeliveryStatus.DELIVERED if isinstance(verdict, Delivered) else DeliveryStatus.FAILED
        done = connection.execute(SQL["end_delivery"], where | {"status": status.value})
        connection.execute(SQL["delete_delivery_of_no_job"], where)
    if done.rowcount:
        _remember_receiver(connection, delivery, verdict, now)
        connection.execute(SQL["receiver_rests"], where | {"rests_until": _rests_until(verdict, now)})
        _look_again(connection, where)


def _rests_until(verdict: Verdict, now: datetime) -> int | None:
    if isinstance(verdict, Delivered):
        return None
    return to_ms(now + timedelta(seconds=REST_S)) if needs_rest(verdict) else to_ms(now)


def _is_in_vain(connection: sqlite3.Connection, delivery: Delivery) -> bool:
    """Whether nobody waits for another attempt: it is old progress, or the receiver has said 410 meanwhile."""
    if delivery.event is WebhookEvent.PROGRESS:
        where: Parameters = {"job_id": delivery.job_id, "id": delivery.id}
        if connection.execute(SQL["superseded"], where).fetchone() is not None:
            return True
    asked_at = delivery.last_attempt_at or delivery.created_at
    return _is_gone(connection, delivery.owner, delivery.url, asked_at)


def _remember_receiver(connection: sqlite3.Connection, delivery: Delivery, verdict: Verdict, now: datetime) -> None:
    """A 410 counts until the receiver takes something that it was asked to take later."""
    where: Parameters = {"owner": delivery.owner, "url": delivery.url, "now": to_ms(now)}
    if isinstance(verdict, GivenUp) and verdict.gone:
        connection.execute(SQL["receiver_gone"], where)
    elif isinstance(verdict, Delivered) and delivery.last_attempt_at is not None:
        connection.execute(SQL["receiver_is_back"], where | {"asked_at": to_ms(delivery.last_attempt_at)})


def give_up(connection: sqlite3.Connection, delivery: Delivery, now: datetime) -> int:
    """End some of what waits for a receiver that said 410; how many."""
    where: Parameters = {"owner": delivery.owner, "url": delivery.url, "host": delivery.host, "now": to_ms(now)}
    where |= {"last_error": GONE_FOR_JOB, "limit": GIVEN_UP_AT_ONCE}
    given_up = connection.execute(SQL["give_up_deliveries"], where).fetchall()
    for job_id, delivery_id in given_up:
        connection.execute(SQL["delete_delivery_of_no_job"], {"id": delivery_id, "job_id": job_id})
    _look_again(connection, where)
    return len(given_up)


# Kept


def recover(connection: sqlite3.Connection, now: datetime) -> int:
    """At start: nobody sends what was taken, and the clock may have been set back. How many had been taken."""
    taken = connection.execute(SQL["take_again"], {"now": to_ms(now)}).rowcount
    connection.execute(SQL["deliver_by_this_clock"], {"now": to_ms(now)})
    connection.execute(SQL["forget_receivers"])
    connection.execute(SQL["find_receivers"])
    return taken


def redeliver(connection: sqlite3.Connection, job_id: str, delivery_id: str, now: datetime) -> Delivery | None:
    """Make a delivery due; `None` if there is no such one. One that is under way stays as it is."""
    where: Parameters = {"id": delivery_id, "job_id": job_id, "now": to_ms(now)}
    changed = connection.execute(SQL["redeliver"], where).rowcount
    row = connection.execute(SQL["delivery"], where).fetchone()
    if row is None:
        return None
    delivery = to_delivery(row)
    if changed:
        where = {"owner": delivery.owner, "host": delivery.host, "due_at": to_ms(now)}
        connection.execute(SQL["await_receiver"], where)
    return delivery


def expire(connection: sqlite3.Connection, ended: datetime, gone: datetime, now: datetime, limit: int) -> int:
    """Forget deliveries, 410s and secrets that are past their time; how many deliveries."""
    connection.execute(SQL["forget_gone_receivers"], {"before": to_ms(gone)})
    connection.execute(SQL["forget_webhook_secrets"], {"now": to_ms(now)})
    return connection.execute(SQL["forget_deliveries"], {"before": to_ms(ended), "limit": limit}).rowcount


def rotate_secret(
    connection: sqlite3.Connection, owner: str, secret: str, until: datetime, now: datetime
) -> list[SigningSecret]:
    """The new secret signs from now on, the older ones until then at the latest. All that sign."""
    where: Parameters = {"owner": owner, "secret": secret, "until": to_ms(until), "now": to_ms(now)}
    connection.execute(SQL["expire_webhook_secrets"], where)
    connection.execute(SQL["insert_webhook_secret"], where)
    return secrets_of(connection.execute(SQL["webhook_secrets"], where).fetchall())


def first_secret(connection: sqlite3.Connection, owner: str, secret: str, now: datetime) -> list[SigningSecret]:
    """The owner's secrets; `secret`, if there is none yet."""
    where: Parameters = {"owner": owner, "secret": secret, "now": to_ms(now)}
    if not connection.execute(SQL["webhook_secrets"], where).fetchall():
        connection.execute(SQL["insert_webhook_secret"], where)
    return secrets_of(connection.execute(SQL["webhook_secrets"], where).fetchall())


# Rows


def to_delivery(row: Row) -> Delivery:
    """The delivery of a row that begins with `DELIVERY_COLUMNS`."""
    status, taken, due_at, ended_at = DeliveryStatus(row[6]), row[7], from_ms(row[8]), row[13]
    waiting = status is DeliveryStatus.PENDING and not taken
    return Delivery(
        id=row[0],
        job_id=row[1],
        owner=row[2],
        event=WebhookEvent(row[3]),
        url=row[4],
        host=row[5],
        status=status,
        attempts=row[9],
        tries=row[10],
        created_at=from_ms(row[11]),
        next_attempt_at=due_at if waiting else None,
        last_attempt_at=None if row[12] is None else from_ms(row[12]),
        delivered_at=from_ms(ended_at) if status is DeliveryStatus.DELIVERED else None,
        last_status=row[14],
        last_error=row[15],
    )


def to_message(row: Row) -> Message:
    return Message(to_delivery(row), row[-1])


def secrets_of(rows: Sequence[Row]) -> list[SigningSecret]:
    return [
        SigningSecret(secret, from_ms(created_at), None if expires_at is None else from_ms(expires_at))
        for secret, created_at, expires_at in rows
    ]
