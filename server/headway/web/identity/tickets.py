"""Tickets: a URL parameter that lets its bearer read one job for a while.

They are for an EventSource on another page, which cannot send headers. A ticket is signed, not stored, and never
logged, because no query string is.
"""

import hashlib
from datetime import datetime
from typing import NamedTuple

from aiohttp import web
from itsdangerous import BadSignature, URLSafeSerializer

from ...domain.access import TICKET_PREFIX
from ...domain.instants import from_ms, to_ms
from ...ports.keys import KeyStore
from ..problems import unauthorized

TICKET = "ticket"
MAX_TICKET_CHARS = 400


class Ticket(NamedTuple):
    """The content of a ticket. `key_id`: the key that created it, `None` where no key is needed."""

    job_id: str
    key_id: str | None
    expires_at: datetime


class Tickets:
    """Creates and checks tickets with the server's secret."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._serializer: URLSafeSerializer | None = None

    async def make(self, ticket: Ticket) -> str:
        serializer = await self._signing()
        return TICKET_PREFIX + str(serializer.dumps([ticket.job_id, ticket.key_id, to_ms(ticket.expires_at)]))

    async def check(self, text: str, job_id: str, now: datetime) -> Ticket:
        """The ticket's content. Raises `Problem` if it is not valid, is for another job, or has expired."""
        if len(text) > MAX_TICKET_CHARS or not text.startswith(TICKET_PREFIX):
            raise unauthorized("The ticket is not valid.")
        serializer = await self._signing()
        try:
            of_job, key_id, expires_ms = serializer.loads(text.removeprefix(TICKET_PREFIX))
        except BadSignature:
            raise unauthorized("The ticket is not valid.") from None
        ticket = Ticket(of_job, key_id, from_ms(expires_ms))
        if ticket.job_id != job_id:
            raise unauthorized("The ticket is for another job.")
        if ticket.expires_at <= now:
            raise unauthorized("The ticket has expired.")
        return ticket

    async def _signing(self) -> URLSafeSerializer:
        if self._serializer is None:
            options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
            self._serializer = URLSafeSerializer(await self._keys.secret(), salt="ticket", signer_kwargs=options)
        return self._serializer


TICKETS = web.AppKey("tickets", Tickets)
