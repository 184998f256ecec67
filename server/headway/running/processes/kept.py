"""Children that have ended an attempt and wait for another one of their type, with what they have set up."""

import asyncio
from collections import defaultdict
from functools import partial

import structlog

from ..limits import CLEAN_UP_WITHIN_S
from .channel import GarbledMessageError
from .messages import CleanUpFailed
from .partner import Partner

log = structlog.get_logger(__name__)


class KeptPartners:
    """The children that wait, by job type. Who has waited for the shortest time is taken first: its memory is warm."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, list[Partner]] = defaultdict(list)
        self._retiring: set[asyncio.Task[None]] = set()

    def take(self, job_type: str) -> Partner | None:
        """A child that waits for an attempt of this type, if there is one."""
        waiting = self._waiting[job_type]
        if not waiting:
            return None
        partner = waiting.pop()
        partner.stays = False
        return partner

    def add(self, partner: Partner, job_type: str) -> None:
        """Keep a child that waits."""
        self._waiting[job_type].append(partner)
        partner.exiting.add_done_callback(partial(self._has_ended, partner, job_type))

    def retire(self, partner: Partner) -> None:
        """Let a child that waits clean up what it has set up, and end; it is killed if that takes too long."""
        task = asyncio.create_task(self._retire(partner))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def retire_all(self) -> None:
        """Keep none of those that wait."""
        for waiting in self._waiting.values():
            while waiting:
                self.retire(waiting.pop())

    async def close(self) -> None:
        """Retire all, and wait until they have ended."""
        self.retire_all()
        if self._retiring:
            await asyncio.wait(self._retiring)

    def _has_ended(self, partner: Partner, job_type: str, _exiting: object) -> None:
        if partner in self._waiting[job_type]:  # nobody has told it to
            self._waiting[job_type].remove(partner)
            log.warning("a process that was kept for the next job has died", type=job_type)
            self.retire(partner)

    async def _retire(self, partner: Partner) -> None:
        partner.channel.finish()
        try:
            async with asyncio.timeout(CLEAN_UP_WITHIN_S):
                await _log_clean_up(partner)
                await asyncio.shield(partner.exiting)
        except TimeoutError:
            log.warning("cleaning up a kept process took too long, and it was killed")
        except GarbledMessageError as error:
            log.warning("a kept process broke the channel and was killed", reason=str(error))
        finally:
            await partner.close()


async def _log_clean_up(partner: Partner) -> None:
    """Log what goes wrong until the child has closed its end."""
    while (message := await partner.channel.receive()) is not None:
        if isinstance(message, CleanUpFailed):
            log.warning("cleaning up a dependency failed", factory=message.factory, traceback=message.traceback)
