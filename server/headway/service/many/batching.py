"""Submitting many jobs in one commit, each with an outcome of its own."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from ...clock import utc_now
from ...domain.access import Caller
from ...domain.idempotency import KEPT, FirstSubmission, IdempotencyKey
from ...errors import KeyReusedError
from ...ports.jobs import Outcomes, Submissions
from ..accepting import Prepared
from ..submission import Submission
from ..submitting import Submitting


class BatchOutcomes(NamedTuple):
    """The outcomes of a batch as JSON text; `replayed`: those of an earlier one with the same key."""

    outcomes_json: str
    replayed: bool = False


class Checks:
    """Checks the submissions of one batch. What is the same for all jobs of a type is looked at once."""

    def __init__(self, caller: Caller, submitting: Submitting) -> None:
        self._caller = caller
        self._submitting = submitting
        self._open_type = cache(submitting.open_type)

    def prepare(self, submission: Submission) -> Prepared:
        """A job that is ready to be accepted. Raises what `Submitting.submit` raises, a full queue or quota aside."""
        return self._submitting.prepare(self._caller, self._open_type(submission.type), submission)


class Batching:
    """Makes jobs of submissions that came together. They have no uploads."""

    def __init__(self, submitting: Submitting, store: Submissions) -> None:
        self._submitting = submitting
        self._store = store

    def begin(self, caller: Caller) -> "Checks":
        """A new batch of the caller's."""
        return Checks(caller, self._submitting)

    async def accept(
        self, caller: Caller, prepared: Sequence[Prepared], outcomes: Outcomes, key: str | None, fingerprint: str
    ) -> BatchOutcomes:
        """Record the jobs for which there is room, all of them or none: durable on return.

        `outcomes` encodes the outcomes for clients. With an idempotency `key`, those of the first batch with that key;
        the key stays unused if no job is accepted. Raises `StoreUnavailableError` and `KeyReusedError`.
        """
        if not prepared:
            return BatchOutcomes(outcomes([]))
        batch = [(each.new, each.max_queued) for each in prepared]
        recorded_key = None if key is None else IdempotencyKey(caller.owner, key, fingerprint, utc_now() + KEPT)
        recorded = await self._store.insert_batch(batch, outcomes, recorded_key)
        if isinstance(recorded, FirstSubmission):
            return self.repeated(recorded, fingerprint)
        return BatchOutcomes(recorded)

    def repeated(self, first: FirstSubmission, fingerprint: str) -> BatchOutcomes:
        """The outcomes of the first batch. Raises `KeyReusedError` if the request was another one."""
        if first.fingerprint != fingerprint or first.outcomes_json is None:
            raise KeyReusedError("This key was used for another request within the last 24 hours.")
        return BatchOutcomes(first.outcomes_json, replayed=True)
