"""The sender of webhooks: takes due deliveries from the outbox, signs and sends them, and records the outcome.

Each attempt is a task of its own, so a slow receiver holds up neither jobs nor deliveries to others.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

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
from .signing import signed_headers

MOST_AT_ONCE = 64
MOST_AT_ONCE_PER_OWNER = 32
MOST_AT_ONCE_PER_HOST = 4
LEASE_S = 60.0
"""Longer than any attempt, so that a lease only expires when its process has died."""
POLL_EVERY_S = 30.0
RECORD_RETRY_S = 0.5

log = structlog.get_logger(__name__)


class WebhookSender:
    """Sends due deliveries while it runs. Several senders can share a record: deliveries are leased."""

    def __init__(
        self,
        outbox: Outbox,
        hub: EventHub,
        outgoing: Outgoing,
        metrics: DeliveryMetrics | None = None,
        *,
        schedule: Schedule | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` returns a random number from 0 to 1."""
        self._outbox = outbox
        self._hub = hub
        self._outgoing = outgoing
        self._metrics = metrics or DeliveryMetrics()
        self._schedule = schedule or Schedule()
        self._jitter = jitter
        self._sending: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._deliver: Loop | None = None
        self._listen: Loop | None = None
        self._stopping = False

    async def start(self, loops: Loops) -> None:
        """Recover deliveries that an earlier server left in progress, and begin to send."""
        left = await self._outbox.recover(utc_now())
        if left:
            log.warning("deliveries that were in progress are sent again", deliveries=left)
        listener = self._hub.listen(Bell.OUTBOX)
        self._deliver = loops.start("webhooks", self._turn, until=lambda: self._stopping)
        wake = partial(self._wake_when_due, listener)
        self._listen = loops.start("webhooks-wake", wake, until=lambda: self._hub.closed)

    async def stop(self, grace_s: float) -> None:
        """Start no more attempts. Those in progress have `grace_s` seconds; the next server sends the others again."""
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
        if await listener.wait(POLL_EVERY_S):
            self._wake.set()

    async def _send_due(self) -> float:
        """Start as many attempts as there is room for; returns the seconds until the next one is due."""
        due = await self._take()
        if self._stopping or self._deliver is None:
            return 0.0  # the next server sends them, once their lease has expired
        for message in due.messages:
            task = self._deliver.spawn(f"delivery:{message.delivery.id}", self._attempt(message))
            self._sending.add(task)
            task.add_done_callback(self._ended)
        if due.next_at is None:
            return POLL_EVERY_S
        due_s = (due.next_at - utc_now()).total_seconds()
        return min(max(due_s, 0.001), POLL_EVERY_S)

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
        """Sign, send, judge and record. If that fails here, the delivery is sent again when its lease expires."""
        delivery = message.delivery
        bound = structlog.contextvars.bound_contextvars(job_id=delivery.job_id, delivery_id=delivery.id)
        with bound:
            try:
                secrets = await self._outbox.secrets(delivery.owner, utc_now())
                headers = signed_headers(delivery.id, message.body, secrets)
                began_s = time.monotonic()
                verdict = await self._send(message, headers)
                self._log(delivery, verdict, time.monotonic() - began_s)
                await self._record(delivery, verdict)
            except HeadwayError as error:
                log.warning("an attempt of a delivery failed", reason=str(error))
            except Exception:
                log.exception("an attempt of a delivery failed")

    async def _send(self, message: Message, headers: Mapping[str, str]) -> Verdict:
        delivery = message.delivery
        try:
            answer = await self._outgoing.post(delivery.url, message.body.encode(), headers)
        except Unreachable as error:
            if error.permanent:
                return GivenUp(str(error))
            return judge_silence(delivery, str(error), utc_now(), self._schedule, self._jitter())
        return judge_answer(delivery, answer.status, answer.retry_after_s, utc_now(), self._schedule, self._jitter())

    async def _record(self, delivery: Delivery, verdict: Verdict) -> None:
        """Retry until the verdict is recorded or the lease has expired."""
        end_s = time.monotonic() + LEASE_S
        while True:
            try:
                await self._outbox.record(delivery, verdict, utc_now())
            except StoreUnavailableError:
                if time.monotonic() > end_s:
                    raise
                await asyncio.sleep(RECORD_RETRY_S)
            else:
                return

    def _log(self, delivery: Delivery, verdict: Verdict, took_s: float) -> None:
        """Log and count the attempt. Only the URL's host is logged: the rest may be secret."""
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
