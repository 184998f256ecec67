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
HEAVY_BYTES = 256 * 1024
"""A larger batch has its owner's turn until it is written, too, and a rest follows: while 16 MB are on their way to the
disk, every other job waits for them.
"""
HEAVY_REST = 2.0
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
    owner, turns = caller(request).owner, parts(request).turns
    async with json_text(request, MAX_BYTES) as body:
        if len(body) > HEAVY_BYTES:
            async with turns.of(owner, rest=HEAVY_REST):
                await batch.read(body)
                return await batch.accept(key)
        async with turns.of(owner, at_ease=AT_EASE):
            await batch.read(body)
    return await batch.accept(key)


class _Batch:
    """The jobs of a batch, as they are read. A repetition is only compared with the `first` one."""

    def __init__(self, request: web.Request, first: FirstSubmission | None, *, hashing: bool) -> None:
        self._request = request
        self._rates, self._keys_owner = request.app[RATES], keys_owner(request)
        self._checks = parts(request).service.batching.begin(caller(request))
        self._first = first
        self._digests: list[str] | None = [] if hashing else None
        self._jobs = 0
        self._prepared: list[Prepared] = []
        self._outcomes = Outcomes(request)

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

    async def accept(self, key: str | None) -> BatchOutcomes:
        """Accept the jobs, or say what became of them at first. Raises what `Batching.accept` raises."""
        batching, fingerprint = parts(self._request).service.batching, fingerprint_of({"batch": self._digests})
        if self._first is not None:
            return batching.repeated(self._first, fingerprint)
        return await batching.accept(caller(self._request), self._prepared, self._outcomes.encode, key, fingerprint)

    def _take(self, item: Item) -> None:
        if self._first is not None:
            return
        try:
            prepared = self._prepare(item)
        except (Problem, HeadwayError) as error:
            self._outcomes.refuse(error)
        else:
            self._outcomes.prepare(prepared.new)
            self._prepared.append(prepared)

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
