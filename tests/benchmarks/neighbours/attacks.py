"""Hostile loads. Each is a function that a thread calls again and again until the process is killed.

To add one, write the function and name it in `ATTACKS`, with the number of its threads.
"""

import contextlib
import http.client
import itertools
import json
import select
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus

from headway.limits import OUTPUT_FILES

from tests.support.keys import bearer

MB = 1_000_000
BATCH_JOBS = 1_000
TIMEOUT_S = 30.0
SOURCE = ("127.0.0.2", 0)
"""An address of the attacker's own: what counts by address must not refuse the one who measures."""
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b-o-u-n-d-a-r-y"}
LISTED = "/jobs?limit=200"
QUEUED_JOBS = 5_000
TOP_UP_S = 1.0
SLOW_BODIES = 1_100
FILTERS = 1_000
SLOW_STEP_S = 0.25
SLOW_BYTES = 150
"""600 bytes a second, just over what a body must arrive with."""


@dataclass(frozen=True)
class Target:
    """Whom to attack: the server's port, and the attacker's own key."""

    port: int
    key: str


Round = Callable[[Target], None]
Body = Callable[[], bytes]


@dataclass(frozen=True)
class Attack:
    """What one thread does in a round, how many threads do it, and what they send, if it takes time to make."""

    round: Round
    threads: int
    body: Body | None = None


def prepare(attack: Attack) -> None:
    """Make what it sends: the bomb takes seconds, during which nobody would be attacked."""
    if attack.body is not None:
        attack.body()


def run(attack: Attack, target: Target) -> None:
    """Attack until the process is killed."""
    threads = [threading.Thread(target=_repeat, args=(attack.round, target)) for _ in range(attack.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _repeat(round: Round, target: Target) -> None:
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):  # refused, or cut off
            round(target)


# What is sent


@cache
def _bomb() -> bytes:
    """500 MB of spaces in 486 kB."""
    packing = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    pieces = [packing.compress(b" " * MB) for _ in range(500)]
    return b"".join([*pieces, packing.flush()])


@cache
def _unknown_fields() -> bytes:
    """80,000 of them, just below the limit of a body."""
    return json.dumps({f"k{number}": 1 for number in range(80_000)}, separators=(",", ":")).encode()


@cache
def _ones() -> bytes:
    return b'{"a":[' + b"1," * (MB // 2) + b"1]}"


@cache
def _line_feeds() -> bytes:
    return b"\n" * (5 * MB)


def _batch(make: Callable[[int], dict[str, object]]) -> bytes:
    return json.dumps({"jobs": [make(number) for number in range(BATCH_JOBS)]}).encode()


@cache
def _small_jobs() -> bytes:
    return _batch(lambda number: {"type": "noop", "label": f"n{number}", "runAt": "2099-01-01T00:00:00Z"})


@cache
def _large_jobs() -> bytes:
    """16 MB of jobs with thousands of small values each."""
    return _batch(lambda _: {"type": "noop", "input": {"text": [1] * 5_000}})


@cache
def _ids() -> bytes:
    """An action on a thousand jobs that there are not."""
    ids = [f"01a1fa65-5e24-7000-907c-{number:012x}" for number in range(BATCH_JOBS)]
    return json.dumps({"action": "cancel", "ids": ids}).encode()


@cache
def _any_job() -> bytes:
    return json.dumps({"action": "retry", "filter": {"q": "a* b* c* d* e*"}}).encode()


def _post(path: str, body: Body, headers: Mapping[str, str], *, with_key: bool = False) -> Round:
    def round(target: Target) -> None:
        _ask(target, "POST", path, body(), {**headers, **(bearer(target.key) if with_key else {})})

    return round


def _get(path: str) -> Round:
    """With a connection that each thread keeps."""
    kept = threading.local()

    def round(target: Target) -> None:
        if not hasattr(kept, "connection"):
            kept.connection = http.client.HTTPConnection("127.0.0.1", target.port, TIMEOUT_S, SOURCE)
        try:
            kept.connection.request("GET", path, headers=dict(bearer(target.key)))
            kept.connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            kept.connection.close()
            del kept.connection

    return round


def _ask(target: Target, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, TIMEOUT_S, SOURCE)
    try:
        connection.request(method, path, body, dict(headers))
        connection.getresponse().read()
    finally:
        connection.close()


def _many_files(target: Target) -> None:
    """Has a job write as many output files as it may, and reads it and its list once it has ended."""
    waiting = {**JSON, **bearer(target.key), "Prefer": "wait=50"}
    _ask(target, "POST", "/jobs/many-files", json.dumps({"count": OUTPUT_FILES}).encode(), waiting)
    for path in ("/jobs?type=many-files&limit=1", LISTED) * 20:
        _ask(target, "GET", path, None, bearer(target.key))


def _slow_bodies(target: Target) -> None:
    """Keeps many requests to sign in open, each arriving steadily, and replaces those that the server ends."""
    head = (
        b"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 15000\r\n\r\n"
    )
    connections: list[socket.socket] = []
    while True:
        while len(connections) < SLOW_BODIES:
            with contextlib.suppress(OSError):
                connections.append(socket.create_connection(("127.0.0.1", target.port), TIMEOUT_S, SOURCE))
                connections[-1].sendall(head)
        for connection in list(connections):
            try:
                connection.sendall(b" " * SLOW_BYTES)
            except OSError:
                connection.close()
                connections.remove(connection)
        time.sleep(SLOW_STEP_S)


def _snapshot(target: Target) -> None:
    """Opens a stream of many jobs and leaves once the snapshot has come."""
    request = f"GET /jobs/progress HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {target.key}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", target.port), TIMEOUT_S, SOURCE) as connection:
        connection.sendall(request)
        end = b""
        while b"event: ready" not in end and b" 429 " not in end:
            piece = connection.recv(65_536)
            if not piece:
                return
            end = end[-100:] + piece


def _different_filters(target: Target) -> None:
    """Has four jobs report all the time, and keeps as many streams of many jobs open as it may, each with a filter of
    its own that shows them.
    """
    body = json.dumps({"steps": 100_000, "step_s": 0.02}).encode()
    for _ in range(4):
        _ask(target, "POST", "/jobs/steps-async", body, {**JSON, **bearer(target.key)})
    waiting = select.epoll()
    streams: dict[int, socket.socket] = {}
    for number in itertools.count():
        if len(streams) < FILTERS:
            stream = socket.create_connection(("127.0.0.1", target.port), TIMEOUT_S, SOURCE)
            path = f"/jobs/progress?type=steps-async,type-{number}"
            stream.sendall(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {target.key}\r\n\r\n".encode()
            )
            streams[stream.fileno()] = stream
            waiting.register(stream.fileno(), select.EPOLLIN)
        for descriptor, _ in waiting.poll(0.001):
            received = streams[descriptor].recv(1_000_000)
            if not received or b" 429 " in received[:20]:
                waiting.unregister(descriptor)
                streams.pop(descriptor).close()


def _long_queue(target: Target) -> None:
    """Keeps thousands of jobs of two to four seconds queued, as fast as the rate of submissions allows."""
    headers = {**JSON, **bearer(target.key)}
    connection = http.client.HTTPConnection("127.0.0.1", target.port, TIMEOUT_S, SOURCE)
    with contextlib.closing(connection):
        for number in range(QUEUED_JOBS):
            body = json.dumps({"steps": 2, "step_s": 1 + number % 100 / 100})
            connection.request("POST", "/jobs/steps-async", body, headers)
            response = connection.getresponse()
            response.read()
            if response.status == HTTPStatus.TOO_MANY_REQUESTS:
                break
    time.sleep(TOP_UP_S)


def _repeated(body: Body) -> Round:
    """The same batch again and again, with the idempotency key of the first."""
    first: list[bool] = []

    def round(target: Target) -> None:
        headers = {**JSON, **bearer(target.key), "Idempotency-Key": "the-same"}
        if not first:
            first.append(True)
            small = b'{"jobs": [{"type": "noop", "runAt": "2099-01-01T00:00:00Z"}]}'
            _ask(target, "POST", "/jobs/batch", small, headers)
        _ask(target, "POST", "/jobs/batch", body(), headers)

    return round


def _parts(target: Target) -> None:
    """Announces an upload and sends it byte by byte."""
    headers = {**bearer(target.key), "Tus-Resumable": "1.0.0"}
    connection = http.client.HTTPConnection("127.0.0.1", target.port, TIMEOUT_S, SOURCE)
    with contextlib.closing(connection):
        connection.request("POST", "/uploads", headers=headers | {"Upload-Length": "500"})
        response = connection.getresponse()
        response.read()
        path = response.headers["Location"].removeprefix("http://jobs.example")
        for offset in range(500):
            sent = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            connection.request("PATCH", path, b"x", headers | sent)
            connection.getresponse().read()


def _nothing(_target: Target) -> None:
    """Attacks nobody: what this row misses is the machine's noise."""
    time.sleep(1)


def _job(job_type: str, **input: object) -> Round:
    """Runs a job of `odd_text_jobs` to its end."""
    body = json.dumps(input).encode()
    return _post(f"/jobs/{job_type}", lambda: body, JSON | {"Prefer": "wait=30"}, with_key=True)


GZIP = {"Content-Encoding": "gzip"}

ATTACKS: Mapping[str, Attack] = {
    "nothing": Attack(_nothing, 1),
    "gzip bombs without a key": Attack(_post("/nowhere", _bomb, JSON | GZIP), 20, _bomb),
    "unknown fields without a key": Attack(_post("/session", _unknown_fields, JSON), 4, _unknown_fields),
    "a list of ones without a key": Attack(_post("/session", _ones, JSON), 4, _ones),
    "slow bodies without a key": Attack(_slow_bodies, 1),
    "gzip bombs": Attack(_post("/jobs/noop", _bomb, JSON | GZIP, with_key=True), 4, _bomb),
    "unknown fields": Attack(_post("/jobs/noop", _unknown_fields, JSON, with_key=True), 4, _unknown_fields),
    "a list of ones": Attack(_post("/jobs/noop", _ones, JSON, with_key=True), 4, _ones),
    "a form of line feeds": Attack(_post("/jobs/reads-upload", _line_feeds, FORM, with_key=True), 4, _line_feeds),
    "50000 output files": Attack(_many_files, 2),
    "5000 queued jobs": Attack(_long_queue, 1),
    "lists": Attack(_get(LISTED), 32),
    "statistics": Attack(_get("/jobs/stats"), 32),
    "snapshots": Attack(_snapshot, 32),
    "different filters": Attack(_different_filters, 1),
    "small batches by 2": Attack(_post("/jobs/batch", _small_jobs, JSON, with_key=True), 2, _small_jobs),
    "small batches by 8": Attack(_post("/jobs/batch", _small_jobs, JSON, with_key=True), 8, _small_jobs),
    "small batches": Attack(_post("/jobs/batch", _small_jobs, JSON, with_key=True), 30, _small_jobs),
    "large batches by 2": Attack(_post("/jobs/batch", _large_jobs, JSON, with_key=True), 2, _large_jobs),
    "large batches": Attack(_post("/jobs/batch", _large_jobs, JSON, with_key=True), 30, _large_jobs),
    "repeated batches by 2": Attack(_repeated(_large_jobs), 2, _large_jobs),
    "repeated batches by 8": Attack(_repeated(_large_jobs), 8, _large_jobs),
    "repeated batches": Attack(_repeated(_large_jobs), 30, _large_jobs),
    "repeated small batches": Attack(_repeated(_small_jobs), 30, _small_jobs),
    "actions on unknown jobs": Attack(_post("/jobs/actions", _ids, JSON, with_key=True), 16, _ids),
    "actions on found jobs": Attack(_post("/jobs/actions", _any_job, JSON, with_key=True), 16, _any_job),
    "searches that find nothing": Attack(_get("/jobs?limit=200&q=a*,b*,c*,d*,e*,f*,g*,h*,i*,j*&metadata.x=y"), 32),
    "claims": Attack(_post("/work/noop/claim?wait=1", lambda: b"", {}, with_key=True), 200),
    "parts of uploads": Attack(_parts, 100),
    "messages of 100 MB": Attack(_job("much-process", what="message", megabytes=100), 2),
    "errors of 100 MB": Attack(_job("odd-process", text=r"long\n", times=20_000_000, way="raise"), 2),
    "checkpoints of 50 MB": Attack(_job("much-process", what="checkpoint", megabytes=50), 2),
    "results of 16 MB": Attack(_job("much-process", what="result", megabytes=16), 2),
    "prints without end": Attack(_job("much-process", what="print", megabytes=100), 2),
}
"""By the name of the row. `--sides` chooses by it, so it has no comma."""
