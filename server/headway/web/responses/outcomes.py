"""The outcomes of a batch: of each job, what the response to its own submission would have said."""

import json
from collections.abc import Sequence

from aiohttp import web
from pydantic_core import to_json

from ...domain.jobs import NewJob
from ...errors import HeadwayError
from ...ports.jobs import Refusal
from ..identity.refusals import REFUSALS
from ..parts import parts
from ..problems import Problem, as_problem

MAX_ERRORS = 1_000
"""Of all jobs together: a batch's outcomes are recorded with its idempotency key, and a job may have fifty errors."""

_ACCEPTED = b'{"status":202,"jobId":"%b","location":%b%b%b,"retryAfterSeconds":null,"problem":null}'
"""Nearly all outcomes; encoding each as a whole would cost ten times as much."""


class Outcomes:
    """Encodes outcomes, as soon as each is known: a thousand at the end would hold up the event loop."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._accepted = parts(request).accepted
        self._encoded: list[bytes] = []
        self._locations: dict[str, tuple[bytes, bytes]] = {}
        """By type, what stands before and after a job's id in its location."""
        self._prepared: list[int] = []
        """Which of them are of jobs that are accepted, if there is room."""
        self._errors_left = MAX_ERRORS

    def __len__(self) -> int:
        return len(self._encoded)

    def refuse(self, error: Problem | HeadwayError) -> None:
        """The next job is refused."""
        self._request.app[REFUSALS].note(self._request, error)
        self._encoded.append(self._refused(error))

    def prepare(self, new: NewJob) -> None:
        """The next job is accepted, if there is room."""
        self._prepared.append(len(self._encoded))
        around = self._locations.get(new.type)
        if around is None:
            around = self._locations[new.type] = self._around_id(new)
        id, (before, after) = new.id.encode(), around
        self._encoded.append(_ACCEPTED % (id, before, id, after))

    def encode(self, refusals: Sequence[Refusal | None]) -> str:
        """All of them, when it is known for which jobs there is no room."""
        encoded = list(self._encoded)
        alike: dict[str, bytes] = {}
        for place, refusal in zip(self._prepared, refusals, strict=True):
            if refusal is not None:
                self._request.app[REFUSALS].note(self._request, refusal)
                text = str(refusal)
                alike[text] = encoded[place] = alike.get(text) or self._refused(refusal)
        accepted = refusals.count(None)
        body = b'{"accepted":%d,"refused":%d,"outcomes":[%s]}'
        return (body % (accepted, len(encoded) - accepted, b",".join(encoded))).decode()

    def _around_id(self, new: NewJob) -> tuple[bytes, bytes]:
        before, _, after = to_json(self._accepted.location(new)).partition(new.id.encode())
        return before, after

    def _refused(self, error: Problem | HeadwayError) -> bytes:
        problem = as_problem(error)
        members = problem.members(self._request)
        if "errors" in members:
            del members["errors"][self._errors_left :]
            self._errors_left -= len(members["errors"])
        retry_after_s = problem.headers.get("Retry-After")
        fields = {
            "status": problem.status,
            "jobId": None,
            "location": None,
            "retryAfterSeconds": None if retry_after_s is None else int(retry_after_s),
            "problem": members,
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
