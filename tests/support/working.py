"""A worker in a test: it claims jobs of a type and reports, one request at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.process import Reply, ServerProcess

CLAIM_WAIT_S = 30
"""Ends a claim for which no job comes."""


@dataclass
class Assignment:
    """A job that the worker has."""

    server: ServerProcess
    fields: Any
    headers: Mapping[str, str]

    @property
    def job_id(self) -> str:
        return str(self.fields["jobId"])

    def send(self, step: str, body: Any = None, method: str = "POST", **headers: str) -> Reply:
        """One request with the lease."""
        path = f"/work/{self.fields['type']}/{step}"
        with_lease = {**self.headers, "Headway-Lease": self.fields["lease"], **headers}
        return self.server.request(method, path, body, with_lease)

    def ok(self, step: str, body: Any = None, **headers: str) -> Any:
        """The JSON that answers a request which succeeds."""
        reply = self.send(step, body, **headers)
        assert reply.status == 200, reply.body
        return reply.json


@dataclass
class Worker:
    """Claims jobs of one type, with a key or without one."""

    server: ServerProcess
    job_type: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, wait_s: float = 0) -> Reply:
        """A claim, whatever its answer is."""
        return self.server.request("POST", f"/work/{self.job_type}/claim?wait={wait_s:g}", headers=dict(self.headers))

    def claim(self) -> Assignment:
        """Wait for a job."""
        reply = self.ask(CLAIM_WAIT_S)
        assert reply.status == 200, reply.body
        return Assignment(self.server, reply.json, self.headers)
