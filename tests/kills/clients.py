"""Clients that do everything a client can do, until the server is gone, and remember each answer."""

import http.client
import random
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

from tests.job_types.killed_jobs import filling, result_of
from tests.kills import orders
from tests.kills.promises import Order, Promised, Promises, Sent
from tests.support.process import Reply, ServerProcess, parse_events

CONNECTION_LOST = (OSError, http.client.HTTPException)
REFUSED = frozenset({429, 503, 507})
"""A quota, a rate, or a server that stops: nothing was changed."""
RECENT = 60
WATCH_S = 1.0
BETWEEN_S = 0.02

_numbers = count(1)


class Account:
    """An owner with one key."""

    def __init__(self, owner: str, key_id: str, key: str) -> None:
        self.owner = owner
        self.key_id = key_id
        self.headers: Mapping[str, str] = {"Authorization": f"Bearer {key}"}


class Client:
    """One client in a thread of its own, with the key of an account."""

    def __init__(
        self, server: ServerProcess, account: Account, promises: Promises, webhook_url: str, chance: random.Random
    ) -> None:
        self._server = server
        self._account = account
        self._promises = promises
        self._webhook_url = webhook_url
        self._chance = chance
        self._jobs: list[Promised] = [
            job for job in promises.jobs.values() if job.order.owner == account.owner and not job.gone
        ]
        self._acts = (
            *[self.submit] * 10,
            *[self.repeat] * 3,
            *[self.cancel] * 2,
            *[self.delete] * 4,
            *[self.retry] * 2,
            *[self.delete_result],
            *[self.read] * 4,
            *[self.read_result] * 2,
            *[self.read_file] * 2,
            *[self.read_log] * 2,
            *[self.list] * 1,
            *[self.watch] * 1,
        )

    @property
    def owner(self) -> str:
        return self._account.owner

    def act(self) -> None:
        self._chance.choice(self._acts)()

    # Changing something

    def submit(self) -> None:
        order = orders.draw(self._chance, self._account.owner, self._account.key_id, self._webhook_url)
        self._send_order(order, Sent(self._request_id(), "submit", order))

    def repeat(self) -> None:
        """Send a submission again, with its idempotency key: mostly one that was not answered."""
        mine = [
            order
            for order in self._promises.orders[-3 * RECENT :]
            if order.key_id == self._account.key_id and order.idempotency_key is not None and order.retry_of is None
        ]
        unanswered = [order for order in mine if order.job_id is None]
        if mine:
            order = self._chance.choice(unanswered or mine)
            self._send_order(order, Sent(self._request_id(), "submit", order))

    def retry(self) -> None:
        job = self._some_job(lambda job: job.ended is not None and job.ended[0] in ("failed", "cancelled"))
        if job is None:
            return
        order = replace(
            job.order, key_id=self._account.key_id, retry_of=job.job_id, job_id=None, idempotency_key=None, body=b""
        )
        self._send_order(order, Sent(self._request_id(), "retry", order), job)

    def _send_order(self, order: Order, sent: Sent, retried: Promised | None = None) -> None:
        self._promises.sending(sent)
        query = urllib.parse.urlencode(order.query)
        path = f"/jobs/{order.type}?{query}" if retried is None else f"/jobs/{retried.job_id}/retry"
        headers = {"Content-Type": order.content_type} if order.body else {}
        if order.idempotency_key is not None:
            headers["Idempotency-Key"] = order.idempotency_key
        reply = self._request("POST", path, order.body, headers, sent)
        if reply.status == 202:
            replayed = "Idempotency-Replayed" in reply.headers
            self._jobs.append(self._promises.accepted(sent, reply.json["jobId"], replayed=replayed))
            return
        sent.answer = "nothing"
        if reply.status == 410 and order.job_id is not None:  # the key outlives the job
            self._promises.missing(self._promises.jobs[order.job_id])
        elif reply.status == 404 and retried is not None:
            self._promises.missing(retried)
        elif reply.status not in REFUSED and not (reply.status == 410 and order.short):
            self._promises.unexpected(f"POST {path}", reply)

    def cancel(self) -> None:
        job = self._some_job(lambda job: job.ended is None)
        if job is None:
            return
        job.may_be_cancelled = True
        reply = self._change(job, Sent(self._request_id(), "cancel", job_id=job.job_id), "")
        if reply.status in (202, 204):
            job.cancelled = True
        elif reply.status not in (404, 409):
            self._promises.unexpected(f"cancel {job.job_id}", reply)

    def delete(self) -> None:
        job = self._some_job(lambda job: not job.may_be_gone)
        if job is None:
            return
        job.may_be_gone = job.may_be_cancelled = True
        reply = self._change(job, Sent(self._request_id(), "delete", job_id=job.job_id), "?purge=true")
        if reply.status == 204:
            job.gone = True
        elif reply.status not in (202, 404):
            self._promises.unexpected(f"delete {job.job_id}", reply)

    def delete_result(self) -> None:
        job = self._some_job(lambda job: job.completed)
        if job is None:
            return
        job.output_may_be_gone = True
        reply = self._change(job, Sent(self._request_id(), "delete-result", job_id=job.job_id), "/result")
        if reply.status == 204:
            job.output_gone = True
        elif reply.status != 404:
            self._promises.unexpected(f"delete the result of {job.job_id}", reply)

    def _change(self, job: Promised, sent: Sent, below: str) -> Reply:
        self._promises.sending(sent)
        reply = self._request("DELETE", f"/jobs/{job.job_id}{below}", sent=sent)
        sent.answer = "done" if reply.status in (202, 204) else "nothing"
        if reply.status == 404:
            self._promises.missing(job)
        return reply

    # Reading

    def read(self, job: Promised | None = None) -> None:
        job = job or self._some_job()
        if job is None:
            return
        gone, version = job.gone, job.version
        reply = self._request("GET", f"/jobs/{job.job_id}{self._chance.choice(('', '', '?wait=0.3'))}")
        if reply.status == 404:
            self._promises.missing(job)
        elif reply.status in (200, 202):
            self._promises.expect(not gone, f"{job.job_id} was deleted, and is there again")
            self._promises.seen(job, reply.json, version)
        else:
            self._promises.unexpected(f"GET {job.job_id}", reply)

    def read_result(self, job: Promised | None = None) -> None:
        job = job or self._some_job(lambda job: job.completed)
        if job is None:
            return
        gone = job.output_gone
        reply = self._request("GET", f"/jobs/{job.job_id}/result")
        if reply.status == 404:
            self._promises.missing(job)
        elif reply.status == 200:
            right = reply.json == result_of(job.job_id, job.order.work)
            self._promises.expect(right and not gone, f"{job.job_id}: its result is not what it was")
        else:
            right = reply.status == 410 and job.output_may_be_gone
            self._promises.expect(right, f"{job.job_id}: {reply.status} for its result")

    def read_file(self, job: Promised | None = None) -> None:
        job = job or self._some_job(lambda job: job.completed and job.files != ())
        if job is None or not job.files:
            return
        name, size_bytes = self._chance.choice(job.files)
        reply = self._request("GET", f"/jobs/{job.job_id}/files/{name}")
        if reply.status == 200:
            number = name.removeprefix("out-").removesuffix(".txt")
            right = reply.body == filling(job.job_id, number, size_bytes).encode()
            self._promises.expect(right, f"{job.job_id}: {name} is not what it was")
        else:
            right = reply.status in (404, 410) and (job.output_may_be_gone or job.may_be_gone or job.order.short)
            self._promises.expect(right, f"{job.job_id}: {reply.status} for {name}")

    def read_log(self, job: Promised | None = None) -> None:
        job = job or self._some_job()
        if job is None:
            return
        known = dict(job.lines)
        reply = self._request("GET", f"/jobs/{job.job_id}/logs?limit=200")
        if reply.status == 404:
            self._promises.missing(job)
        elif reply.status == 200:
            lines = {line["seq"]: line["message"] for line in reply.json["lines"]}
            self._promises.expect(known.items() <= lines.items(), f"{job.job_id}: its log was {known}, and is {lines}")
            job.lines = max(job.lines, lines, key=len)
        else:
            self._promises.unexpected(f"the log of {job.job_id}", reply)

    def list(self) -> None:
        reply = self._request("GET", f"/jobs?limit={self._chance.choice((5, 200))}")
        if reply.status != 200:
            self._promises.unexpected("GET /jobs", reply)
            return
        for shown in reply.json["jobs"]:
            job = self._promises.jobs.get(shown["jobId"])
            if job is not None:
                self._promises.seen(job, shown, 0)

    def watch(self) -> None:
        """Follow a stream for a while."""
        job = self._some_job(lambda job: job.ended is None)
        if job is None:
            return
        for shown in self._states(job):
            self._promises.seen(job, shown, 0)

    def _states(self, job: Promised) -> Iterator[Any]:
        """The states that a job's stream sends. Raises `OSError` when it is silent or the server has gone."""
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=WATCH_S)
        try:
            connection.request("GET", f"/jobs/{job.job_id}/progress", headers=dict(self._account.headers))
            response = connection.getresponse()
            if response.status == 200:
                yield from (event.data for event in parse_events(response) if event.name is None)
        finally:
            connection.close()

    # Parts

    def _some_job(self, fits: Any = lambda _: True) -> Promised | None:
        """One of its owner's jobs that fits: most often a recent one."""
        jobs = self._jobs[-RECENT:] if self._chance.random() < 0.7 else self._jobs
        found = [job for job in jobs if fits(job) and not job.gone]
        return self._chance.choice(found) if found else None

    def _request_id(self) -> str:
        return f"{self._account.owner}-{next(_numbers)}"

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        sent: Sent | None = None,
    ) -> Reply:
        named = {} if sent is None else {"X-Request-ID": sent.id}
        return self._server.request(method, path, body, {**self._account.headers, **named, **(headers or {})})


@contextmanager
def load(clients: list[Client], promises: Promises) -> Iterator[None]:
    """Let the clients act for the duration of the block."""
    stop = threading.Event()

    def repeat(client: Client) -> None:
        while not stop.is_set():
            try:
                client.act()
            except CONNECTION_LOST:
                pass
            except Exception as error:  # noqa: BLE001 - a thread's failure must reach the run
                promises.breach(f"a client failed: {error!r}")
                return
            stop.wait(BETWEEN_S)

    threads = [threading.Thread(target=repeat, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
