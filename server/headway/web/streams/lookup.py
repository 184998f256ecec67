"""Finding the audiences that a changed job may concern, without asking each of them."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from ...domain.access import EVERY_OWNER
from ...domain.filters import JobFilter
from ...domain.jobs import Job
from ...errors import TooManyStreamsError
from .audience import Audience

FILTERS_PER_OWNER = 100
"""Each different filter is a frame of its own to put together when a job changes."""
RETRY_AFTER_S = 10

_Place = tuple[str, str, str]
"""An owner, what its filters name (`id`, `type` or `any`), and the id or the type."""


class Lookup:
    """The audiences by owner, and by what their filters name that never changes in a job: its id or its type."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, JobFilter], Audience] = {}
        self._of_owner: Counter[str] = Counter()
        self._at: defaultdict[_Place, dict[Audience, None]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._all)

    def get_or_add(self, owner: str, filter: JobFilter) -> Audience:
        """The audience of this owner and filter. Raises `TooManyStreamsError` if the owner has too many filters."""
        audience = self._all.get((owner, filter))
        if audience is None:
            if self._of_owner[owner] >= FILTERS_PER_OWNER:
                message = f"{self._of_owner[owner]} different filters are in use, which is the limit for each owner."
                raise TooManyStreamsError(message, RETRY_AFTER_S)
            audience = self._all[owner, filter] = Audience(owner, filter)
            self._of_owner[owner] += 1
            for place in self._places(audience):
                self._at[place][audience] = None
        return audience

    def remove(self, audience: Audience) -> None:
        del self._all[audience.owner, audience.filter]
        self._of_owner[audience.owner] -= 1
        if not self._of_owner[audience.owner]:
            del self._of_owner[audience.owner]
        for place in self._places(audience):
            del self._at[place][audience]
            if not self._at[place]:
                del self._at[place]

    def concerned(self, job: Job) -> Iterator[Audience]:
        """The audiences that may show this job, or have shown it."""
        for owner in (job.owner, EVERY_OWNER):
            for place in ((owner, "id", job.id), (owner, "type", job.type), (owner, "any", "")):
                yield from self._at.get(place, ())

    def concerned_by_unknown(self, job_id: str) -> list[Audience]:
        """The audiences that may have shown a job of which only the id is left."""
        return [audience for audience in self._all.values() if not audience.filter.ids or job_id in audience.filter.ids]

    @staticmethod
    def _places(audience: Audience) -> list[_Place]:
        owner, filter = audience.owner, audience.filter
        if filter.ids:
            return [(owner, "id", job_id) for job_id in filter.ids]
        return [(owner, "type", job_type) for job_type in filter.types] or [(owner, "any", "")]
