"""The embedded `Outbox`: deliveries and secrets, in the same file as the jobs that they are about."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from ...domain.access import EVERY_OWNER
from ...domain.audit import Action, Actor, Entry
from ...domain.deliveries import (
    Delivery,
    DeliveryFilter,
    DeliveryPage,
    GivenUp,
    Message,
    SigningSecret,
    Verdict,
    new_secret,
)
from ...domain.instants import to_ms
from ...ports.events import Bell, EventHub
from ...ports.outbox import Due, Limits
from . import deliveries
from .database import Database
from .statements import SQL
from .transaction import Transaction

KEPT_AFTER_END = timedelta(days=7)
BEHIND_ALL_IDS = "~"
LOOKED_AT = 2_000
"""How many deliveries one page looks at, at most: few of them may match its filter."""
GONE_FOR = timedelta(days=90)
"""How long a 410 is remembered. A receiver that is sent something after that can answer 410 again."""


class SqliteOutbox:
    """Beside the store, on the same database."""

    def __init__(self, database: Database, hub: EventHub) -> None:
        self._database = database
        self._hub = hub

    async def take(self, now: datetime, limits: Limits, lease_s: float) -> Due:
        operation = partial(deliveries.take, now=now, limits=limits, lease=timedelta(seconds=lease_s))

        def committed(taken: tuple[list[Message], datetime | None]) -> Due:
            return Due(*taken)

        return await self._database.write(operation, committed)

    async def record(self, delivery: Delivery, verdict: Verdict, now: datetime) -> None:
        operation = partial(deliveries.record, delivery=delivery, verdict=verdict, now=now)
        await self._database.write(operation, lambda _: None)
        if isinstance(verdict, GivenUp) and verdict.gone:
            giving_up = partial(deliveries.give_up, delivery=delivery, now=now)
            while await self._database.write(giving_up, int) == deliveries.GIVEN_UP_AT_ONCE:
                pass  # in a transaction each, so that jobs are written in between

    async def of_job(self, job_id: str, limit: int) -> Sequence[Delivery]:
        rows = await self._database.all(SQL["deliveries_of_job"], {"job_id": job_id, "limit": limit})
        return [deliveries.to_delivery(row) for row in rows]

    async def page(self, caller: str, filter: DeliveryFilter, limit: int, cursor: str | None) -> DeliveryPage:
        whose = "true" if caller == EVERY_OWNER else "owner = :owner"
        where: dict[str, Any] = {"owner": caller, "before": cursor or BEHIND_ALL_IDS, "look_at": LOOKED_AT}
        last = await self._database.all(SQL["last_deliveries_looked_at"].replace("{whose}", whose), where)
        end = last[0][0] if len(last) > 1 else None
        where |= {"last": end or "", "limit": limit + 1}
        where |= {"statuses": _list(filter.statuses), "events": _list(filter.events), "hosts": _list(filter.hosts)}
        rows = await self._database.all(SQL["page_of_deliveries"].replace("{whose}", whose), where)
        found = [deliveries.to_delivery(row) for row in rows[:limit]]
        return DeliveryPage(found, found[-1].id if len(rows) > limit else end)

    async def redeliver(self, job_id: str, delivery_id: str, now: datetime, by: Actor | None = None) -> Delivery | None:
        def operation(tx: Transaction) -> Delivery | None:
            delivery = deliveries.redeliver(tx, job_id, delivery_id, now)
            if delivery is not None and by is not None:
                tx.audit(Entry(now, by, Action.REDELIVER, delivery.owner, job_id))
            return delivery

        def committed(delivery: Delivery | None) -> Delivery | None:
            if delivery is not None:
                self._hub.ring(Bell.OUTBOX, job_id)
            return delivery

        return await self._database.write(operation, committed)

    async def recover(self, now: datetime) -> int:
        return await self._database.write(partial(deliveries.recover, now=now), int)

    async def expire(self, now: datetime, limit: int) -> int:
        ended, gone = now - KEPT_AFTER_END, now - GONE_FOR
        operation = partial(deliveries.expire, ended=ended, gone=gone, now=now, limit=limit)
        return await self._database.write(operation, int)

    async def secrets(self, owner: str, now: datetime) -> Sequence[SigningSecret]:
        rows = await self._database.all(SQL["webhook_secrets"], {"owner": owner, "now": to_ms(now)})
        if rows:
            return deliveries.secrets_of(rows)
        making = partial(deliveries.first_secret, owner=owner, secret=new_secret(), now=now)
        return await self._database.write(making, _unchanged)

    async def rotate_secret(
        self, owner: str, now: datetime, overlap_s: float, by: Actor | None = None, *, revealed: bool = False
    ) -> Sequence[SigningSecret]:
        until = now + timedelta(seconds=overlap_s)

        def rotating(tx: Transaction) -> list[SigningSecret]:
            if by is not None:
                tx.audit(Entry(now, by, Action.ROTATE_SECRET, owner))
            return deliveries.rotate_secret(tx, owner, new_secret(), until, now, revealed=revealed)

        return await self._database.write(rotating, _unchanged)

    async def reveal_secret(self, owner: str, now: datetime, by: Actor | None = None) -> SigningSecret:
        def revealing(tx: Transaction) -> SigningSecret:
            if by is not None:
                tx.audit(Entry(now, by, Action.SHOW_SECRETS, owner))
            return deliveries.reveal_secret(tx, owner, new_secret(), now)

        return await self._database.write(revealing, lambda secret: secret)


def _list(values: Iterable[str]) -> str | None:
    """As JSON; `None` if anything will do."""
    return json.dumps(sorted(values)) if values else None


def _unchanged(secrets: list[SigningSecret]) -> list[SigningSecret]:
    return secrets
