"""What is done to deliveries in a transaction: plain functions, called in the writer's thread.

Due deliveries are found through `receivers`, which has a row for each owner and host with a pending delivery. Its
`due_at` is never too late. It may be too early, which costs one query.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from ...domain.deliveries import (
    MAX_SECRETS,
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
from ...domain.instants import from_ms, nearest_to_ms, to_ms
from ...errors import SecretRevealedError, TooManySecretsError
from ...ports.outbox import Limits
from ..mending import Mending
from .announcing import is_gone
from .rows import Parameters, Row
from .statements import SQL
from .transaction import Transaction

GIVEN_UP_AT_ONCE = 500
GONE_FOR_JOB = "The receiver answered 410 to another delivery."


# Sending


def take(tx: Transaction, now: datetime, limits: Limits, lease: timedelta) -> tuple[list[Message], datetime | None]:
    """The messages to send now, and when the next one may be due."""
    messages: list[Message] = []
    under_way = Counter(dict(tx.execute(SQL["taken_by_owner"]).fetchall()))
    while len(messages) < limits.at_once:
        where: Parameters = {"now": to_ms(now), "limit": limits.at_once - len(messages)}
        where |= {"full": _full(under_way, limits)}
        receivers = tx.execute(SQL["due_receivers"], where).fetchall()
        if not receivers:
            break
        for owner, host, rests_until in receivers:
            where = {"owner": owner, "host": host, "now": to_ms(now), "leased_until": to_ms(now + lease)}
            room = min(limits.at_once - len(messages), limits.per_owner - under_way[owner])
            if rests_until is None or rests_until <= to_ms(now):
                taken = _take_from(tx, where, limits.per_host if rests_until is None else 1, room)
                messages += taken
                under_way[owner] += len(taken)
            else:
                _reschedule(tx, where)
    row = tx.execute(SQL["next_receiver"], {"full": _full(under_way, limits)}).fetchone()
    return messages, None if row is None else nearest_to_ms(row[0])


def _full(under_way: Mapping[str, int], limits: Limits) -> str:
    """The owners at their limit, as JSON."""
    return json.dumps([owner for owner, taken in under_way.items() if taken >= limits.per_owner])


def _take_from(tx: Transaction, where: Parameters, at_once: int, limit: int) -> list[Message]:
    """Lease at most `limit` due deliveries for one host, so that no more than `at_once` are under way."""
    tx.execute(SQL["release_leases"], where)
    places = at_once - int(tx.execute(SQL["count_taken"], where).fetchone()[0])
    rows: list[Row] = []
    if min(places, limit) > 0:
        rows = tx.execute(SQL["take_deliveries"], where | {"limit": min(places, limit)}).fetchall()
    _reschedule(tx, where, full=len(rows) >= places)
    return sorted(to_message(row) for row in rows)


def _reschedule(tx: Transaction, where: Parameters, *, full: bool = False) -> None:
    """Note when a delivery to this host is due next. If the host is `full`, that is when the first lease ends."""
    found = [tx.execute(SQL["first_due"], where | {"taken": taken}).fetchone()[0] for taken in (0, 1)]
    instants = [at for at in (found[1:] if full else found) if at is not None]
    if instants:
        tx.execute(SQL["reschedule_receiver"], where | {"due_at": min(instants)})
    else:
        tx.execute(SQL["forget_receiver"], where)


def record(tx: Transaction, delivery: Delivery, verdict: Verdict, now: datetime) -> None:
    """Record the result of an attempt. A stale attempt changes nothing."""
    if isinstance(verdict, TryAgain) and _is_pointless(tx, delivery):
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
        done = tx.execute(SQL["postpone_delivery"], where | {"due_at": to_ms(verdict.at)})
    else:
        status = DeliveryStatus.DELIVERED if isinstance(verdict, Delivered) else DeliveryStatus.FAILED
        done = tx.execute(SQL["end_delivery"], where | {"status": status.value})
        tx.execute(SQL["delete_delivery_of_no_job"], where)
    if done.rowcount:
        _remember_receiver(tx, delivery, verdict, now)
        tx.execute(SQL["receiver_rests"], where | {"rests_until": _rests_until(verdict, now)})
        _reschedule(tx, where)


def _rests_until(verdict: Verdict, now: datetime) -> int | None:
    """When the host may get its next delivery, after one that failed; `None` after a success."""
    if isinstance(verdict, Delivered):
        return None
    return to_ms(now + timedelta(seconds=REST_S)) if needs_rest(verdict) else to_ms(now)


def _is_pointless(tx: Transaction, delivery: Delivery) -> bool:
    """Whether another attempt is pointless: it is outdated progress, or the receiver has answered 410 meanwhile."""
    if delivery.event is WebhookEvent.PROGRESS:
        where: Parameters = {"job_id": delivery.job_id, "id": delivery.id}
        if tx.execute(SQL["superseded"], where).fetchone() is not None:
            return True
    asked_at = delivery.last_attempt_at or delivery.created_at
    return is_gone(tx.execute, delivery.owner, delivery.url, asked_at)


def _remember_receiver(tx: Transaction, delivery: Delivery, verdict: Verdict, now: datetime) -> None:
    """Note a 410, or that the receiver has accepted a delivery that was sent after its 410."""
    where: Parameters = {"owner": delivery.owner, "url": delivery.url, "now": to_ms(now)}
    if isinstance(verdict, GivenUp) and verdict.gone:
        tx.execute(SQL["receiver_gone"], where)
    elif isinstance(verdict, Delivered) and delivery.last_attempt_at is not None:
        tx.execute(SQL["receiver_is_back"], where | {"asked_at": to_ms(delivery.last_attempt_at)})


def give_up(tx: Transaction, delivery: Delivery, now: datetime) -> int:
    """End some of the pending deliveries to a receiver that answered 410; returns how many."""
    where: Parameters = {"owner": delivery.owner, "url": delivery.url, "host": delivery.host, "now": to_ms(now)}
    where |= {"last_error": GONE_FOR_JOB, "limit": GIVEN_UP_AT_ONCE}
    given_up = tx.execute(SQL["give_up_deliveries"], where).fetchall()
    for job_id, delivery_id in given_up:
        tx.execute(SQL["delete_delivery_of_no_job"], {"id": delivery_id, "job_id": job_id})
    _reschedule(tx, where)
    return len(given_up)


# Keeping


def recover(tx: Transaction, now: datetime) -> int:
    """At start: release what a sender that is gone had leased, and correct for a clock that was set back.

    Returns how many deliveries were leased.
    """
    taken = tx.execute(SQL["take_again"], {"now": to_ms(now)}).rowcount
    tx.execute(SQL["deliver_by_this_clock"], {"now": to_ms(now)})
    tx.execute(SQL["forget_receivers"])
    tx.execute(SQL["find_receivers"])
    return taken


def redeliver(tx: Transaction, job_id: str, delivery_id: str, now: datetime) -> Delivery | None:
    """Make a delivery due; `None` if there is no such delivery. One that is under way is returned as it is."""
    where: Parameters = {"id": delivery_id, "job_id": job_id, "now": to_ms(now)}
    changed = tx.execute(SQL["redeliver"], where).rowcount
    row = tx.execute(SQL["delivery"], where).fetchone()
    if row is None:
        return None
    delivery = to_delivery(row)
    if changed:
        where = {"owner": delivery.owner, "host": delivery.host, "due_at": to_ms(now)}
        tx.execute(SQL["await_receiver"], where)
    return delivery


def expire(tx: Transaction, ended: datetime, gone: datetime, now: datetime, limit: int) -> int:
    """Delete expired deliveries, 410s and secrets; returns how many deliveries."""
    tx.execute(SQL["forget_gone_receivers"], {"before": to_ms(gone)})
    tx.execute(SQL["forget_webhook_secrets"], {"now": to_ms(now)})
    return tx.execute(SQL["forget_deliveries"], {"before": to_ms(ended), "limit": limit}).rowcount


def rotate_secret(
    tx: Transaction, owner: str, secret: str, until: datetime, now: datetime, *, revealed: bool
) -> list[SigningSecret]:
    """Record a new secret. The older ones sign until `until` at the latest. Returns all that sign."""
    where: Parameters = {"owner": owner, "secret": secret, "until": to_ms(until), "now": to_ms(now)}
    where |= {"revealed_at": to_ms(now) if revealed else None}
    tx.execute(SQL["expire_webhook_secrets"], where)
    tx.execute(SQL["insert_webhook_secret"], where)
    signing = secrets_of(tx.execute(SQL["webhook_secrets"], where).fetchall())
    if len(signing) > MAX_SECRETS:
        raise TooManySecretsError(
            f"{MAX_SECRETS} secrets sign at present. Wait until one expires, or let none overlap."
        )
    return signing


def reveal_secret(tx: Transaction, owner: str, secret: str, now: datetime) -> SigningSecret:
    """The owner's current secret, which is `secret` if there is none yet, unless it was revealed before."""
    current = first_secret(tx, owner, secret, now)[0]
    if current.revealed_at is not None:
        raise SecretRevealedError(f"The secret was revealed at {current.revealed_at.isoformat(timespec='seconds')}.")
    tx.execute(SQL["reveal_webhook_secret"], {"owner": owner, "secret": current.text, "now": to_ms(now)})
    return current._replace(revealed_at=now)


def first_secret(tx: Transaction, owner: str, secret: str, now: datetime) -> list[SigningSecret]:
    """The owner's secrets. If there are none yet, `secret` becomes the first."""
    where: Parameters = {"owner": owner, "secret": secret, "now": to_ms(now), "revealed_at": None}
    if not tx.execute(SQL["webhook_secrets"], where).fetchall():
        tx.execute(SQL["insert_webhook_secret"], where)
    return secrets_of(tx.execute(SQL["webhook_secrets"], where).fetchall())


# Rows


def to_delivery(row: Row) -> Delivery:
    """The delivery in a row that begins with `DELIVERY_COLUMNS`. Of a damaged row, what can be read."""
    try:
        return _mended_delivery(row) if bytes in map(type, row) else _to_delivery(row)
    except (ValueError, TypeError, OverflowError):
        return _mended_delivery(row)


def _mended_delivery(row: Row) -> Delivery:
    mend = Mending("deliveries", row[0])
    status = mend.member("status", row[6], DeliveryStatus, DeliveryStatus.FAILED)
    texts = ("id", "job_id", "owner"), ("url", "host")
    id, job_id, owner = (mend.text(column, value) for column, value in zip(texts[0], row[:3], strict=True))
    url, host = (mend.text(column, value) for column, value in zip(texts[1], row[4:6], strict=True))
    due_at, ended_at = mend.instant("due_at", row[8]), mend.instant("ended_at", row[13])
    delivery = Delivery(
        id=id,
        job_id=job_id,
        owner=owner,
        event=mend.member("event", row[3], WebhookEvent, WebhookEvent.COMPLETED),
        url=url,
        host=host,
        status=status,
        attempts=mend.whole("attempts", row[9]),
        tries=mend.whole("tries", row[10]),
        created_at=mend.instant("created_at", row[11]),
        next_attempt_at=due_at if status is DeliveryStatus.PENDING and not row[7] else None,
        last_attempt_at=mend.optional_instant("last_attempt_at", row[12]),
        delivered_at=ended_at if status is DeliveryStatus.DELIVERED else None,
        last_status=mend.optional_whole("last_status", row[14]),
        last_error=mend.optional_text("last_error", row[15]),
    )
    mend.report()
    return delivery


def _to_delivery(row: Row) -> Delivery:
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
    mend = Mending("deliveries", row[0])
    message = Message(to_delivery(row), mend.text("body", row[-1]))
    mend.report()
    return message


def secrets_of(rows: Sequence[Row]) -> list[SigningSecret]:
    return [SigningSecret(secret, nearest_to_ms(at), *map(_instant, ends)) for secret, at, *ends in rows]


def _instant(ms: int | None) -> datetime | None:
    return None if ms is None else nearest_to_ms(ms)
