"""The deliveries of a job's webhook: listing them, and having one sent again."""

from collections.abc import Sequence

from ..clock import utc_now
from ..domain.access import Caller
from ..domain.deliveries import Delivery
from ..domain.ids import is_job_id
from ..errors import DeliveryNotFoundError
from ..ports.outbox import Outbox
from .reading import Reading


class Deliveries:
    """What was sent, and what came of it."""

    def __init__(self, outbox: Outbox, reading: Reading) -> None:
        self._outbox = outbox
        self._reading = reading

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
