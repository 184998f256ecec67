"""Webhooks, for those who are sent them: their deliveries, the secret that signs them, and a request to try it out."""

from collections.abc import Sequence

from ..clock import utc_now
from ..domain.access import Caller
from ..domain.addresses import AllowList
from ..domain.deliveries import Delivery, DeliveryFilter, DeliveryPage, SigningSecret
from ..domain.ids import is_job_id
from ..domain.urls import check_url
from ..errors import DeliveryNotFoundError, InvalidError, UrlRefusedError
from ..ports.outbox import Outbox
from ..ports.webhooks import Probe, Prober
from .reading import Reading


class Deliveries:
    """What was sent, and what came of it."""

    def __init__(self, outbox: Outbox, reading: Reading, prober: Prober, allowed: AllowList) -> None:
        """`allowed`: otherwise forbidden addresses that webhooks may go to."""
        self._outbox = outbox
        self._reading = reading
        self._prober = prober
        self._allowed = allowed

    async def page(self, caller: Caller, filter: DeliveryFilter, limit: int, cursor: str | None) -> DeliveryPage:
        """Deliveries for all jobs that the caller sees, newest first. Raises `InvalidError` for an odd cursor."""
        if cursor is not None and not is_job_id(cursor):
            raise InvalidError([("/cursor", "is not the cursor of a page")])
        return await self._outbox.page(caller.sees, filter, limit, cursor)

    async def secrets(self, caller: Caller) -> Sequence[SigningSecret]:
        """The secrets that sign the caller's deliveries, the current one first."""
        return await self._outbox.secrets(caller.owner, utc_now())

    async def reveal_secret(self, caller: Caller) -> SigningSecret:
        """The current secret, once. Raises `SecretRevealedError`."""
        return await self._outbox.reveal_secret(caller.owner, utc_now(), caller.actor)

    async def rotate_secret(self, caller: Caller, overlap_s: float) -> SigningSecret:
        """A new secret; the older ones sign for `overlap_s` more seconds. Raises `TooManySecretsError`."""
        signing = await self._outbox.rotate_secret(caller.owner, utc_now(), overlap_s, caller.actor, revealed=True)
        return signing[0]

    async def probe(self, caller: Caller, url: str) -> Probe:
        """Send one signed request to `url`, now and once. Raises `InvalidError` for a URL that nothing is sent to."""
        try:
            checked = check_url(url, self._allowed)
        except UrlRefusedError as error:
            raise InvalidError([("/url", str(error))]) from None
        return await self._prober.probe(caller.owner, checked)

    async def of_job(self, caller: Caller, job_id: str, limit: int) -> Sequence[Delivery]:
        """The job's deliveries, newest first. Raises `JobNotFoundError`."""
        job = await self._reading.job(caller, job_id)
        return await self._outbox.of_job(job.id, limit)

    async def redeliver(self, caller: Caller, job_id: str, delivery_id: str) -> Delivery:
        """Have a delivery sent again as soon as there is room. Raises `JobNotFoundError`, `DeliveryNotFoundError`."""
        job = await self._reading.job(caller, job_id)
        delivery = None
        if is_job_id(delivery_id):  # ids of deliveries have the same form
            delivery = await self._outbox.redeliver(job.id, delivery_id, utc_now(), caller.actor)
        if delivery is None:
            raise DeliveryNotFoundError("The job has no such delivery.")
        return delivery
