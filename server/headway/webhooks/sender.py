"""Webhooks: takes what is due from the outbox, signs it, sends it, records what came of it. Standard Webhooks 1.0.

Each attempt is a task of its own, so a slow receiver holds up neither jobs nor deliveries to others.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog
from standardwebhooks.webhooks import Webhook as Signer

from ..clock import utc_now
from ..domain.deliveries import (
    Delivered,
    Delivery,
    GivenUp,
    Message,
    Schedule,
    TryAgain,
    Verdict,
    judge_answer,
    judge_silence,
)
from ..errors import HeadwayError, StoreUnavailableError
from ..loops import Loop, Loops
from ..metrics import DeliveryMetrics
from ..ports.events import Bell, EventHub, Listener
from ..ports.outbox import Due, Limits, Outbox
from .outgoing import Outgoing, Unreachable

MOST_AT_ONCE = 64
MOST_AT_ONCE_PER_OWNER = 32
MOST_AT_ONCE_PER_HOST = 4
LEASE_S = 60.0
"""Longer than an attempt can take, so that only what a dead process had taken is ever taken from it."""
LOOK_AT_LEAST_EVERY_S = 30.0
RECORD_AGAIN_AFTER_S = 0.5

log = structlog.get_logger(__name__)


def wall_clock() -> datetime:
    """What receivers hold a signature's timestamp against: unlike the server's clock it follows steps back too."""
    return datetime.now(UTC)


class WebhookSender:
    """Sends what is due, as long as it runs. Several on one record do not get in each other's way."""

    def __init__(
        self,
        outbox: Outbox,
        hub: EventHub,
        outgoing: Outgoing,
        metrics: DeliveryMetrics | None = None,
        *,
        schedule: Schedule | None = None,
        luck: Callable[[], float] = random.random,
    ) -> None:
        """`luck` draws the jitter, from 0 to 1."""
        self._outbox = outbox
        self._hub = hub
        self._outgoing = outgoing
        self._metrics = metrics or DeliveryMetrics()
        self._schedule = schedule or Schedule()
        self._luck = luck
        self._sending: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._deliver: Loop | None = None
        self._listen: Loop | None = None
        self._stopping = False

    async def start(self, loops: Loops) -> None:
        """Take up what an earlier server left, and begin to send."""
        left = await self._outbox.recover(utc_now())
        if left:
            log.warning("deliveries that were under way are sent again", deliveries=left)
        listener = self._hub.listen(Bell.OUTBOX)
        self._deliver = loops.start("webhooks", self._turn, until=lambda: self._stopping)
        wake = partial(self._wake_when_due, listener)
        self._listen = loops.start("webhooks-wake", wake, until=lambda: self._hub.closed)

    async def stop(self, grace_s: float) -> None:
        """Begin nothing more; what is under way has `grace_s` seconds, and is sent again by the next server if that
        is not enough.
        """
        self._stopping = True
        if self._sending:
            await asyncio.wait(self._sending, timeout=grace_s)
        for loop in (self._deliver, self._listen):
            if loop is not None:
                await loop.stop()

    async def _turn(self) -> None:
        self._wake.clear()
        wait_s = await self._send_due()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._wake.wait()

    async def _wake_when_due(self, listener: Listener) -> None:
        if await listener.wait(LOOK_AT_LEAST_EVERY_S):
            self._wake.set()

    async def _send_due(self) -> float:
        """Begin as many attempts as there is room for; seconds until it is worth another look without being woken."""
        due = await self._take()
        if self._stopping or self._deliver is None:
            return 0.0  # what was taken is sent by the next server, once its lease has ended
        for message in due.messages:
            task = self._deliver.spawn(f"delivery:{message.delivery.id}", self._attempt(message))
            self._sending.add(task)
            task.add_done_callback(self._ended)
        if due.next_at is None:
            return LOOK_AT_LEAST_EVERY_S
        due_s = (due.next_at - utc_now()).total_seconds()
        return min(max(due_s, 0.001), LOOK_AT_LEAST_EVERY_S)

    async def _take(self) -> Due:
        limits = Limits(MOST_AT_ONCE - len(self._sending), MOST_AT_ONCE_PER_OWNER, MOST_AT_ONCE_PER_HOST)
        if limits.at_once < 1:
            return Due([], None)
        return await self._outbox.take(utc_now(), limits, LEASE_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._wake.set()

    # One attempt

    async def _attempt(self, message: Message) -> None:
        """Sign, send, judge, record. What fails here for reasons of ours is tried again when the lease ends."""
        delivery = message.delivery
        bound = structlog.contextvars.bound_contextvars(job_id=delivery.job_id, delivery_id=delivery.id)
        with bound:
            try:
                headers = await self._signed(message)
                began_s = time.monotonic()
                verdict = await self._send(message, headers)
                self._tell(delivery, verdict, time.monotonic() - began_s)
                await self._record(delivery, verdict)
            except HeadwayError as error:
                log.warning("an attempt of a delivery came to nothing", reason=str(error))
            except Exception:
                log.exception("an attempt of a delivery came to nothing")

    async def _signed(self, message: Message) -> Mapping[str, str]:
        """The headers; one signature for each secret that is valid now, so that receivers can change theirs in time."""
        secrets = await self._outbox.secrets(message.delivery.owner, utc_now())
        now, id = wall_clock(), message.delivery.id
        return {
            "Content-Type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(Signer(secret.text).sign(id, now, message.body) for secret in secrets),
        }

    async def _send(self, message: Message, headers: Mapping[str, str]) -> Verdict:
        delivery = message.delivery
        try:
            answer = await self._outgoing.post(delivery.url, message.body.encode(), headers)
        except Unreachable as error:
            if error.permanent:
                return GivenUp(str(error))
            return judge_silence(delivery, str(error), utc_now(), self._schedule, self._luck())
        return judge_answer(delivery, answer.status, answer.retry_after_s, utc_now(), self._schedule, self._luck())

    async def _record(self, delivery: Delivery, verdict: Verdict) -> None:
        """Until it is recorded, or somebody else may have taken the delivery."""
        end_s = time.monotonic() + LEASE_S
        while True:
            try:
                await self._outbox.record(delivery, verdict, utc_now())
            except StoreUnavailableError:
                if time.monotonic() > end_s:
                    raise
                await asyncio.sleep(RECORD_AGAIN_AFTER_S)
            else:
                return

    def _tell(self, delivery: Delivery, verdict: Verdict, took_s: float) -> None:
        """One line and one count for each attempt. Of the URL only the host: the rest may be a secret."""
        about: dict[str, Any] = {"webhook_event": delivery.event.value, "host": delivery.host}
        about |= {"delivery_attempt": delivery.attempts, "took_s": round(took_s, 3)}
        match verdict:
            case Delivered(status):
                self._metrics.attempts["delivered"] += 1
                log.info("delivered", status=status, **about)
            case TryAgain(at, error):
                self._metrics.attempts["retry"] += 1
                log.info("not delivered, will be tried again", reason=error, again_at=_in_log(at), **about)
            case GivenUp(error):
                self._metrics.attempts["failed"] += 1
                log.warning("not delivered", reason=error, **about)


def _in_log(at: datetime) -> str:
    return (at - timedelta(microseconds=at.microsecond)).isoformat()
