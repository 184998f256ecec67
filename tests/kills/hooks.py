"""The receiver of webhooks: what it is told of a job is true, and it is told of each change once."""

import hashlib
from collections import defaultdict
from typing import Any

from tests.kills.promises import Promised, Promises
from tests.support.receiver import Handling, Receiver
from tests.support.record import TERMINAL

PATH = "/hook"
ONE_FAILS_OF = 200


class Hooks:
    """What has come, by job: the event, the attempt and the id of each delivery, and how the job had ended."""

    def __init__(self, receiver: Receiver, promises: Promises) -> None:
        self._promises = promises
        self._deliveries: defaultdict[str, dict[tuple[str, int], str]] = defaultdict(dict)
        self._ends: dict[str, tuple[str, str]] = {}
        self._failed: set[str] = set()
        self.url = receiver.url(PATH)
        receiver.behaviours[PATH] = self._receive

    def _receive(self, handling: Handling) -> None:
        received = handling.server.receiver.received[-1]
        delivery_id, body = handling.headers["webhook-id"], received.json
        if received.id != delivery_id:  # another one came meanwhile
            body = next(each.json for each in reversed(handling.server.receiver.received) if each.id == delivery_id)
        self._note(delivery_id, body["type"], body["data"])
        fails = int(hashlib.sha256(delivery_id.encode()).hexdigest(), 16) % ONE_FAILS_OF == 0
        if fails and delivery_id not in self._failed:
            self._failed.add(delivery_id)
            handling.answer(500)
        else:
            handling.answer(204)

    def _note(self, delivery_id: str, event: str, shown: Any) -> None:
        job_id, attempt, status = shown["jobId"], shown["attempt"], shown["status"]
        known = self._deliveries[job_id].setdefault((event, attempt), delivery_id)
        self._promises.expect(known == delivery_id, f"{job_id}: {event} of attempt {attempt} is told twice")
        if status in TERMINAL:
            self._promises.expect(event == f"job.{status}", f"{job_id}: {event} tells of {status}")
            ended = (status, shown["completedAt"])
            first = self._ends.setdefault(job_id, ended)
            self._promises.expect(first == ended, f"{job_id}: webhooks tell of {first} and of {ended}")

    def check(self, job: Promised) -> None:
        """To be called when nothing is left to be sent."""
        if not job.order.webhook:
            self._promises.expect(job.job_id not in self._ends, f"{job.job_id}: a webhook that nobody asked for")
            return
        told = self._ends.get(job.job_id)
        self._promises.expect(told is not None, f"{job.job_id}: no webhook tells of its end")
        if told is not None and job.ended is not None:
            self._promises.expect(told == job.ended[:2], f"{job.job_id} ended as {job.ended}, told is {told}")
