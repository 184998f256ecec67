"""Waiting for a job: woken by its bell, ended by the deadline or by the server's stop."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator

from ..domain.access import Caller
from ..domain.jobs import Job
from ..errors import TooManyWaitsError
from ..ports.events import Bell, EventHub
from ..ports.jobs import Reader

RETRY_AFTER_S = (5, 15)


def has_ended(job: Job) -> bool:
    """What most wait for."""
    return job.terminal


class Waiting:
    """The waits in progress. Each costs a task and a listener; none reads its job until a bell rings."""

    def __init__(self, store: Reader, hub: EventHub, *, most: int, most_per_client: int, most_per_owner: int) -> None:
        self._store = store
        self._hub = hub
        self._most = most
        self._most_per_client = most_per_client
        self._most_per_owner = most_per_owner
        self._waits = 0
        self._of_client: Counter[str] = Counter()
        self._of_owner: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many are counted."""
        return self._waits

    async def until(
        self,
        caller: Caller,
        job_id: str,
        wait_s: float,
        enough: Callable[[Job], bool] = has_ended,
        *,
        client: str | None = None,
        owner: str | None = None,
    ) -> Job:
        """The job as soon as `enough` holds for it; otherwise as it is after `wait_s` seconds or when the server stops.

        `client` and `owner` are those whose simultaneous waits are counted together; without a client, nothing is
        counted. Raises `JobNotFoundError`, also if the job is deleted meanwhile, and `TooManyWaitsError` when a limit
        on simultaneous waits is reached.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s

        def over(job: Job) -> bool:
            return enough(job) or loop.time() >= deadline_s or self._hub.closed

        with contextlib.closing(self._hub.listen(Bell.CHANGED, job_id)) as listener:
            job = await self._store.get(caller.sees, job_id)
            if over(job):
                return job
            with contextlib.nullcontext() if client is None else self.counted(client, owner):
                while not over(job):
                    await listener.wait(max(0.0, deadline_s - loop.time()))
                    job = await self._store.get(caller.sees, job_id)
            return job

    @contextlib.contextmanager
    def counted(self, client: str, owner: str | None) -> Iterator[None]:
        """Within the block a request waits. Raises `TooManyWaitsError`."""
        self._check_limits(client, owner)
        self._waits += 1
        self._of_client[client] += 1
        if owner is not None:
            self._of_owner[owner] += 1
        try:
            yield
        finally:
            self._waits -= 1
            _one_less(self._of_client, client)
            if owner is not None:
                _one_less(self._of_owner, owner)

    def _check_limits(self, client: str, owner: str | None) -> None:
        retry_after_s = random.randint(*RETRY_AFTER_S)  # noqa: S311 - jitter, so that they do not all return at once
        if self._waits >= self._most:
            raise TooManyWaitsError(f"The limit of {self._most:,} waiting requests is reached.", retry_after_s)
        if self._of_client[client] >= self._most_per_client:
            detail = f"The limit of {self._most_per_client:,} waiting requests per client is reached."
            raise TooManyWaitsError(detail, retry_after_s)
        if owner is not None and self._of_owner[owner] >= self._most_per_owner:
            detail = f"The limit of {self._most_per_owner:,} waiting requests per owner is reached."
            raise TooManyWaitsError(detail, retry_after_s)


def _one_less(counter: Counter[str], key: str) -> None:
    """Drop the key when its count is 0."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
