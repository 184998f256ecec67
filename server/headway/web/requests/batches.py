"""Reading a batch of submissions, each as if it had come alone, and accepting them together."""

import asyncio
from time import perf_counter

from aiohttp import web

from ...domain.idempotency import FirstSubmission
from ...errors import HeadwayError
from ...service.accepting import Prepared
from ...service.admission import FREE_SPACE_MAX_AGE_S
from ...service.idempotency import fingerprint_in_pieces, fingerprint_of
from ...service.many.batching import BatchOutcomes
from ..identity.gate import caller, keys_owner
from ..identity.penalties import PENALTIES
from ..identity.rates import RATES
from ..parts import parts
from ..problems import Problem
from ..responses.outcomes import Outcomes
from .bodies import json_text
from .idempotency import given_key
from .json_items import Item, read_items
from .multipart import Body
from .query import NoQuery, query
from .submissions import enveloped

MAX_JOBS = 1_000
MAX_BYTES = 16 * 1024 * 1024
AT_EASE = 2
"""How many batches of one owner follow each other without a rest: one is read while the other is written."""
SLICE_S = 0.001
"""How long the event loop is kept at a time: a thousand jobs take some hundred milliseconds."""


async def submit_batch(request: web.Request) -> BatchOutcomes:
    """Read the batch and accept its jobs. Raises `Problem`, and what `Batching.accept` raises."""
    key = given_key(request)
    query(request, NoQuery)
    service = parts(request).service
    first = None if key is None else await service.submitting.first_with(caller(request), key)
    if first is None:
        request.app[PENALTIES].check(request)
        service.admission.check_running()
        service.admission.check_space(request.content_length or 0, FREE_SPACE_MAX_AGE_S)
    batch = _Batch(request, first, hashing=key is not None)
    turn = parts(request).turns.of(caller(request).owner, at_ease=AT_EASE)
    async with json_text(request, MAX_BYTES) as body, turn:
        await batch.read(body)
    fingerprint = batch.fingerprint()
    if first is not None:
        return service.batching.repeated(first, fingerprint)
    return await service.batching.accept(caller(request), batch.prepared, batch.outcomes.encode, key, fingerprint)


class _Batch:
    """The jobs of a batch, as they are read. A repetition is only compared with the `first` one."""

    def __init__(self, request: web.Request, first: FirstSubmission | None, *, hashing: bool) -> None:
        self._request = request
        self._rates, self._keys_owner = request.app[RATES], keys_owner(request)
        self._checks = parts(request).service.batching.begin(caller(request))
        self._repeated = first is not None
        self._digests: list[str] | None = [] if hashing else None
        self._jobs = 0
        self.prepared: list[Prepared] = []
        self.outcomes = Outcomes(request)

    def fingerprint(self) -> str:
        """The request as its idempotency key identifies it."""
        return fingerprint_of({"batch": self._digests})

    async def read(self, body: bytes) -> None:
        """Read all jobs, in turn with whatever else the event loop has to do."""
        of = parts(self._request)
        began_s = perf_counter()
        async for items in read_items(body, "jobs", of.settings.max_body_bytes, of.parsing):
            for item in items:
                if self._jobs == MAX_JOBS:
                    raise Problem("validation-failed", errors=[("/jobs", f"must have at most {MAX_JOBS:,} items")])
                self._jobs += 1
                if self._digests is not None:
                    self._digests.append(await _identified(item))
                self._take(item)
                if perf_counter() - began_s > SLICE_S:
                    await asyncio.sleep(0)
                    began_s = perf_counter()
        if not self._jobs:
            raise Problem("validation-failed", errors=[("/jobs", "must have at least one item")])

    def _take(self, item: Item) -> None:
        if self._repeated:
            return
        try:
            prepared = self._prepare(item)
        except (Problem, HeadwayError) as error:
            self.outcomes.refuse(error)
        else:
            self.outcomes.prepare(prepared.new)
            self.prepared.append(prepared)

    def _prepare(self, item: Item) -> Prepared:
        """What a submission of its own would have been checked for before it is recorded."""
        if self._jobs > 1:  # the first one was counted before the body was read
            self._rates.count_submission(self._request, self._keys_owner)
        if item.problem is not None:
            raise item.problem
        return self._checks.prepare(enveloped(Body(item.value)))


async def _identified(item: Item) -> str:
    """What a repetition is recognized by."""
    return await fingerprint_in_pieces({"text": item.text} if item.problem else {"job": item.value})
