"""The request that tries a receiver out: signed and sent like a delivery, but once, and at once."""

import time
from collections import Counter
from collections.abc import Mapping

import structlog
from pydantic_core import to_json

from ..clock import utc_now
from ..domain.deliveries import TEST_EVENT, Webhook, refusal
from ..domain.ids import JobIds
from ..errors import TooManyWaitsError
from ..ports.outbox import Outbox
from ..ports.webhooks import Probe
from ..representation import instant
from .outgoing import Outgoing, Unreachable
from .signing import signed_headers

MOST_AT_ONCE = 8
MOST_AT_ONCE_PER_OWNER = 2
"""Few, because each may look up a name for a long time, and deliveries need look-ups too."""
RETRY_AFTER_S = 15
MESSAGE = "A test, sent at the request of the owner of this webhook. No job has changed."

log = structlog.get_logger(__name__)


class WebhookProber:
    """Sends test requests, a few at a time. `POST /webhooks/test` waits for each."""

    def __init__(self, outbox: Outbox, outgoing: Outgoing) -> None:
        self._outbox = outbox
        self._outgoing = outgoing
        self._ids = JobIds()
        self._under_way: Counter[str] = Counter()

    async def probe(self, owner: str, url: str) -> Probe:
        if self._under_way[owner] >= MOST_AT_ONCE_PER_OWNER or self._under_way.total() >= MOST_AT_ONCE:
            raise TooManyWaitsError("As many tests of webhooks are under way as may be.", RETRY_AFTER_S)
        self._under_way[owner] += 1
        try:
            return await self._probe(owner, url)
        finally:
            self._under_way[owner] -= 1
            self._under_way += Counter()  # without those who have none

    async def _probe(self, owner: str, url: str) -> Probe:
        id, created_at = self._ids.new(utc_now())
        body = to_json({"type": TEST_EVENT, "timestamp": instant(created_at), "data": {"message": MESSAGE}})
        headers = signed_headers(id, body.decode(), await self._outbox.secrets(owner, created_at))
        began_s = time.monotonic()
        status, error = await self._send(url, body, headers)
        probe = Probe(id, url, status, error, time.monotonic() - began_s)
        about = {"host": Webhook(url).host, "status": status, "took_s": round(probe.took_s, 3)}
        log.info("a webhook was tried out", delivery_id=id, reason=error, **about)
        return probe

    async def _send(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int | None, str | None]:
        """The status of the response, and what is wrong."""
        try:
            answer = await self._outgoing.post(url, body, headers)
        except Unreachable as error:
            return None, str(error)
        return answer.status, refusal(answer.status)
