"""A real server process under two published fuzzers: schemathesis for well-formed requests, radamsa for bytes.

What must not happen: a 5xx that is neither one of the documented 503s nor the error of a job that has failed, a
traceback in the server's log, a broken answer, a server that is gone or does not answer others.
"""

import contextlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from headway.web.problems import KINDS
from pyradamsa import Radamsa

from tests.support.log_scan import without_handlers_exceptions
from tests.support.process import ROOT, ServerProcess
from tests.support.raw import FORM, JSON, form, part, request_bytes

JOBS = ROOT / "tests" / "fuzz" / "jobs_to_fuzz.py"
ELSEWHERE = ROOT / "tests" / "fuzz" / "elsewhere_jobs.py"
HOOKS = "tests.fuzz.fuzzing_hooks"
SCHEMATHESIS_SHARE = 0.5
SHORTEST_SCHEMATHESIS_S = 20
"""A shorter run would be over before schemathesis gets to fuzzing; then radamsa gets all of the time."""
MOST_EXAMPLES = 1_000_000
A_MOMENT_S = 0.1
LONGEST_ANSWER_S = 1.0
CHECKED_EVERY = 50
SHOWN_CHARS = 6_000
HEAD_TIMEOUT_S = 2.0
LEAST_MUTATED = 150
"""Requests of a run, however short it is or slow the machine: enough for each common status to come up."""

_STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3})[^\r\n]*\r\n", re.MULTILINE)
_HEADER = re.compile(rb"[!#$%&'*+.^`|~0-9A-Za-z-]+: [^\r\n\0]*")
_OF_THE_JOB = "/problems/job-failed"
"""Its status is that of the error with which the job has failed."""
_UNAVAILABLE = frozenset(f"/problems/{kind}" for kind, (status, _) in KINDS.items() if status == 503)

UNKNOWN = "01900000-0000-7000-8000-000000000000"
DATE = "Mon, 01 Jan 2001 00:00:00 GMT"
LETTER = b'{"text": "Dear reader", "copies": 2}'
ENVELOPE = (
    b'{"type": "write-letter", "label": "a", "priority": 1, "runAt": "2026-01-01T00:00:00Z", '
    b'"timeoutSeconds": 1.5, "retainSeconds": 60, "input": {"text": "x"}}'
)
PAPERS = form(part("letter", b"hello", "a.txt", "Content-Type: text/plain"), part("input", b'{"pages": 2}'))


class Found(Exception):  # noqa: N818 - what a fuzzer does
    """A finding: something that must not happen."""


def fuzz(seconds: int, seed: int) -> int:
    """Fuzz for this long. Returns 0 if nothing was found."""
    for_schemathesis_s = int(seconds * SCHEMATHESIS_SHARE)
    if for_schemathesis_s < SHORTEST_SCHEMATHESIS_S:
        for_schemathesis_s = 0
    elif not _survives(_check_generated, for_schemathesis_s, seed):
        return 1
    if not _survives(_check_mutated, seconds - for_schemathesis_s, seed):
        return 1
    print("nothing was found", flush=True)
    return 0


def _survives(check: Callable[[ServerProcess, int, int], None], seconds: int, seed: int) -> bool:
    """Run a check on its own server, so that one fuzzer's jobs do not delay the other's. Returns whether it passed."""
    limits = {"HEADWAY_HEAD_TIMEOUT_S": str(HEAD_TIMEOUT_S), "HEADWAY_BODY_TIMEOUT_S": "2"}
    slots = ("--max-tasks", "2", "--max-processes", "2")
    with ServerProcess(":memory:", "--jobs", str(JOBS), "--jobs", str(ELSEWHERE), *slots, env=limits) as server:
        try:
            check(server, seconds, seed)
            _check_server(server)
        except Found as found:
            print(f"FOUND: {found}\n{server.log()[-4000:]}", flush=True)
            return False
    return True


def _check_generated(server: ServerProcess, seconds: int, seed: int) -> None:
    """Send what the document allows, and what it forbids."""
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run", f"http://127.0.0.1:{server.port}/openapi.json"),
            *("--checks=no_error_is_the_servers", f"--max-examples={MOST_EXAMPLES}", f"--seed={seed}", "--mode=all"),
            *(f"--max-time={seconds}", "--phases=fuzzing,stateful", "--continue-on-failure", "--request-timeout=70"),
            *("--generation-database=none", "--no-color", "--warnings=off", "--output-sanitize=false"),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": HOOKS},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    cases = re.search(r"([\d,]+) generated", done.stdout)
    print(f"schemathesis: {cases[1] if cases else 'no'} cases in {seconds} s", flush=True)
    if done.returncode or cases is None:
        raise Found(done.stdout[-6000:] + done.stderr[-2000:])


def _check_mutated(server: ServerProcess, seconds: int, seed: int) -> None:
    """Send valid requests, one or several, with bytes changed, cut, repeated and swapped."""
    luck, radamsa = random.Random(seed), Radamsa()
    statuses: Counter[int] = Counter()
    end_s, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end_s or sent < LEAST_MUTATED:
        if sent % CHECKED_EVERY == 0:
            _check_server(server)
            valid = _requests_to(server)
        request = _mutated(luck.choices(valid, k=luck.choice((1, 1, 1, 2, 3))), radamsa, luck)
        statuses.update(_check_answer(request, _exchange(server, request)))
        sent += 1
    print(f"radamsa: {sent:,} requests, answers by status: {dict(sorted(statuses.items()))}", flush=True)


def _requests_to(server: ServerProcess) -> list[bytes]:
    """Valid requests, to a new job, a new upload, and a lease that was just given."""
    job_id = server.submit("write-letter", {"text": "x"})
    server.wait_for(job_id)
    server.submit("count-elsewhere", {"number": 1})
    lease = server.request("POST", "/work/count-elsewhere/claim?wait=30").json["lease"]
    upload = server.request("POST", "/uploads", None, {"Tus-Resumable": "1.0.0", "Upload-Length": "10"})
    names = {b"{id}": job_id, b"{lease}": lease, b"{upload}": upload.headers["Location"].rpartition("/")[2]}
    requests = _requests()
    for name, value in names.items():
        requests = [request.replace(name, value.encode()) for request in requests]
    return requests


def _mutated(requests: Sequence[bytes], radamsa: Radamsa, luck: random.Random) -> bytes:
    """Mutate the whole input, or only a header's value or the body, to get past the parser of heads."""

    def fuzzed(text: bytes) -> bytes:
        return bytes(radamsa.fuzz(text, seed=luck.randrange(2**31), max_mut=len(text) * 2 + 64))

    head, _, body = requests[0].partition(b"\r\n\r\n")
    match luck.randrange(3) if len(requests) == 1 else 0:
        case 1 if body:
            body = fuzzed(body)
            head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head)
            return head + b"\r\n\r\n" + body
        case 1 | 2:
            lines = head.split(b"\r\n")
            place = luck.randrange(len(lines))
            before, space, value = lines[place].partition(b" ")
            lines[place] = before + space + fuzzed(value).translate(None, b"\r\n\0")
            return b"\r\n".join(lines) + b"\r\n\r\n" + body
        case _:
            return fuzzed(b"".join(requests))


def _exchange(server: ServerProcess, request: bytes) -> bytes:
    """Send a request. Returns what comes back until the server closes or pauses."""
    received = bytearray()
    try:
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    except OSError as error:
        raise Found(f"no connection after {request!r}: {error}") from error
    end_s = time.monotonic() + LONGEST_ANSWER_S  # streams do not end
    with connection, contextlib.suppress(ConnectionError, TimeoutError):
        connection.settimeout(A_MOMENT_S)
        connection.sendall(request)
        while time.monotonic() < end_s and (chunk := connection.recv(65536)):
            received += chunk
    return bytes(received)


def _check_answer(request: bytes, received: bytes) -> Iterator[int]:
    """Yield the statuses of the responses. Raises `Found` for a server error and for a response that was split."""
    if received and not _STATUS.match(received):
        raise Found(f"no answer: {request!r} -> {received[:500]!r}")
    for found in _STATUS.finditer(received):
        status = int(found[1])
        head, _, body = received[found.end() :].partition(b"\r\n\r\n")
        if status != 100 and not all(map(_HEADER.fullmatch, head.split(b"\r\n"))):
            raise Found(f"a broken head: {request!r} -> {head!r}")
        if status >= 500 and not (status == 503 and _type(body) in _UNAVAILABLE) and _type(body) != _OF_THE_JOB:
            raise Found(f"{status}: {request!r} -> {received[:2000]!r}")
        yield status


def _type(body: bytes) -> str | None:
    with contextlib.suppress(ValueError):
        problem, _ = json.JSONDecoder().raw_decode(body.decode("utf-8", "replace"))
        return str(problem["type"])
    return None


def _check_server(server: ServerProcess) -> None:
    if server.process.poll() is not None:
        raise Found(f"the server ended with {server.process.returncode}")
    if server.request("GET", "/healthz").status != 200:
        raise Found("others are not served")
    _, traceback, rest = without_handlers_exceptions(server.log()).partition("Traceback")
    if traceback:
        raise Found(f"in the log: {traceback}{rest[:SHOWN_CHARS]}")


def _requests() -> list[bytes]:
    conditions = (
        *(("Range", "bytes=0-1"), ("If-Range", DATE), ("If-Match", '"a", W/"b"'), ("If-None-Match", 'W/"1"')),
        *(("If-Modified-Since", DATE), ("If-Unmodified-Since", DATE), ("Last-Event-ID", "2"), ("X-Request-ID", "a")),
    )
    kept = (("Connection", "keep-alive"), ("Prefer", "wait=0"), ("Idempotency-Key", '"k"; a=1'))
    chunked = (*JSON, ("Transfer-Encoding", "chunked"))
    asked = [
        *_requests_of_uploads(),
        *_requests_of_workers(),
        request_bytes("POST", "/jobs/write-letter?label=x&priority=3&runAt=2026-01-01T00:00:00Z", JSON, LETTER),
        request_bytes("POST", "/jobs/write-letter", (*JSON, *kept), LETTER),
        request_bytes("POST", "/jobs", JSON, ENVELOPE),
        request_bytes("POST", "/jobs", (*JSON, ("Expect", "100-continue")), ENVELOPE),
        request_bytes("POST", "/jobs/write-letter", chunked, b"9;a=b\r\n" + LETTER[:9] + b"\r\n0\r\nT: x\r\n\r\n"),
        request_bytes("POST", "/jobs/count-papers", FORM, PAPERS),
        request_bytes("POST", "/jobs", FORM, form(part("type", b"count-papers"), part("letter", b"x", "a.txt"))),
        request_bytes("GET", f"/jobs?status=queued&type=a&limit=5&cursor={UNKNOWN}&createdAfter=2026-01-01T00:00:00Z"),
        *(request_bytes(method, "/jobs/{id}/files/letter.txt?inline=true", conditions) for method in ("GET", "HEAD")),
        request_bytes("GET", "/jobs/{id}/progress?lastEventId=3", conditions),
        request_bytes("GET", "/jobs/{id}?wait=0.1&redirect=true", conditions),
        request_bytes("GET", "/jobs/progress?ids={id}&type=a,b&status=queued"),
        request_bytes("GET", "/static/app.js", (*conditions, ("Accept-Encoding", "gzip, br"))),
        *(request_bytes("GET", f"/jobs/{{id}}/{what}") for what in ("logs?after=1&limit=2", "result", "deliveries")),
        *(request_bytes("GET", path) for path in ("/", "/docs", "/job-types", "/jobs/stats", "/metrics", "/readyz")),
        *(request_bytes("GET", path) for path in ("/operations/{id}", "/v1/jobs/operations/{id}", "/session")),
        *(request_bytes("GET", f"/jobs/{{id}}/{what}") for what in ("attempts", "files", "files.zip", "badge.svg")),
        *(request_bytes("GET", path) for path in ("/usage", "/webhooks/secret", "/webhooks/deliveries?status=failed")),
        request_bytes("POST", "/jobs/batch", (*JSON, *kept), b'{"jobs": [%s, {"type": "do-nothing"}]}' % ENVELOPE),
        request_bytes("POST", "/jobs/actions", (*JSON, *kept), b'{"action": "retry", "ids": ["{id}"]}'),
        request_bytes("POST", "/jobs/actions", JSON, b'{"action": "cancel", "filter": {"label": "x", "type": ["a"]}}'),
        request_bytes("GET", "/jobs?sort=-updatedAt&updatedAfter=2026-01-01T00:00:00Z&metadata.a=b&q=dear+reader"),
        request_bytes("POST", "/webhooks/test", JSON, b'{"url": "http://127.0.0.1:9/"}'),
        request_bytes("POST", "/session", JSON, b'{"key": "hwk_x"}'),
        request_bytes("POST", "/jobs/{id}/tickets", JSON, b'{"expiresInSeconds": 60}'),
        request_bytes("POST", "/jobs/{id}/retry", kept),
        request_bytes(
            "PATCH", "/jobs/{id}", (*JSON, ("If-Match", '"e0", W/"1"')), b'{"label": null, "metadata": {"a": null}}'
        ),
        request_bytes("DELETE", "/jobs/{id}?purge=false", (("Cookie", "a=b; c=d"), ("Authorization", "Bearer x"))),
        request_bytes("OPTIONS", "*", (("Upgrade", "h2c"), ("Connection", "Upgrade"))),
        request_bytes("GET", "/jobs/{id}/progress", (("Upgrade", "websocket"), ("Connection", "Upgrade"))),
    ]
    return asked + [request.replace(b"Connection: close\r\n", b"") for request in asked]


def _requests_of_uploads() -> list[bytes]:
    tus = (("Tus-Resumable", "1.0.0"),)
    part_of = (*tus, ("Upload-Offset", "0"), ("Content-Type", "application/offset+octet-stream"))
    new = (*tus, ("Upload-Length", "3"), ("Upload-Metadata", "filename YS50eHQ=,filetype dGV4dC9wbGFpbg=="))
    return [
        request_bytes("POST", "/uploads", new),
        request_bytes("POST", "/uploads", (*new, part_of[-1]), b"abc"),
        request_bytes("PATCH", "/uploads/{upload}", part_of, b"hello"),
        request_bytes("HEAD", "/uploads/{upload}", tus),
        request_bytes("DELETE", "/uploads/{upload}", tus),
        request_bytes("POST", "/uploads/{upload}", (*part_of, ("X-HTTP-Method-Override", "PATCH")), b"hello"),
        request_bytes("POST", "/jobs/count-papers", JSON, b'{"letter": "{upload}", "pages": 2}'),
    ]


def _requests_of_workers() -> list[bytes]:
    lease, work = (("Headway-Lease", "{lease}"),), "/work/count-elsewhere"
    return [
        request_bytes("POST", f"{work}/claim?wait=0"),
        request_bytes("POST", f"{work}/progress", (*lease, *JSON), b'{"done": 1, "total": 2, "message": "on it"}'),
        request_bytes("POST", f"{work}/logs", (*lease, *JSON), b'{"lines": [{"message": "a", "level": "info"}]}'),
        request_bytes("POST", f"{work}/logs", (*lease, ("Content-Type", "text/plain")), b"one\ntwo\n"),
        request_bytes("POST", f"{work}/checkpoint", (*lease, *JSON), b'{"line": 1}'),
        request_bytes("PUT", f"{work}/files/a.txt", (*lease, ("Content-Type", "text/plain")), b"hello"),
        request_bytes("GET", f"{work}/inputs/letter", lease),
        request_bytes("POST", f"{work}/complete", (*lease, *JSON), b'{"result": 2}'),
        request_bytes("POST", f"{work}/fail", (*lease, *JSON), b'{"title": "No ink", "retry": true}'),
    ]
