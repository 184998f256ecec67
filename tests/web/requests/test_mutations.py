"""Valid requests with a few bytes changed: whatever the outcome, it is never a server error."""

import random

import pytest

from tests.support.process import ServerProcess
from tests.support.raw import FORM, JSON, Headers, exchange, form, part, request_bytes
from tests.support.serving import UNKNOWN

DOCUMENT = part("document", b"hello", "a.txt", "Content-Type: text/plain")
INPUT = part("input", b'{"copies": 2}', None, "Content-Type: application/json")
ENVELOPE = b'{"type": "noop", "label": "a", "priority": 1, "runAt": "2026-01-01T00:00:00Z", "timeoutSeconds": 1.5}'
DATE = "Mon, 01 Jan 2001 00:00:00 GMT"
CONDITIONS = (
    *(("Range", "bytes=0-1"), ("If-Range", DATE), ("If-Match", '"a", W/"b"'), ("If-None-Match", 'W/"1"')),
    *(("If-Modified-Since", DATE), ("If-Unmodified-Since", DATE), ("Last-Event-ID", "2"), ("Expect", "100-continue")),
)

REQUESTS: tuple[tuple[str, str, Headers, bytes], ...] = (
    ("POST", "/jobs/reads-upload?label=x&priority=3", FORM, form(DOCUMENT, INPUT)),
    ("POST", "/jobs", FORM, form(part("type", b"reads-upload"), DOCUMENT, INPUT)),
    ("POST", "/jobs", JSON, ENVELOPE),
    ("POST", "/jobs/nested-input", JSON, b'{"points": [{"x": 1, "y": 2}], "next": {"points": []}}'),
    ("GET", f"/jobs?status=queued&type=noop&createdAfter=2026-01-01T00:00:00Z&limit=5&cursor={UNKNOWN}", (), b""),
    ("GET", f"/jobs/{UNKNOWN}/logs?after=1&limit=2", (), b""),
    ("GET", f"/jobs/{UNKNOWN}/attempts?after=1&limit=2", (), b""),
    ("GET", "/jobs/{id}/files/data.csv?inline=true", CONDITIONS, b""),
    ("GET", "/jobs/{id}/progress?lastEventId=3", CONDITIONS, b""),
    ("GET", "/jobs/{id}", CONDITIONS, b""),
    ("GET", "/static/app.js", CONDITIONS, b""),
    ("DELETE", "/jobs/{id}?purge=false", CONDITIONS, b""),
)
ODD = (
    *(b"\x00", b"\xff", b"\r\n", b"\n", b"--", b"%00", b"%ff", b'"', b"\\", b"{", b"[", b"NaN", b"-1", b"9" * 20, b";"),
    *(
        b",",
        b"=",
        b"&",
        b"../",
        b"\xc3\xa9",
        b"*",
        b" ",
        b"e",
        b":",
        b"filename*=utf-8''%ff",
        b"Z",
        b"%",
        b"W/",
        b"bytes=",
    ),
)


def mutated(text: bytes, luck: random.Random) -> bytes:
    changed = bytearray(text)
    for _ in range(luck.randint(1, 4)):
        at = luck.randint(0, len(changed))
        match luck.randrange(4):
            case 0:
                changed[at : at + 1] = luck.randbytes(1)
            case 1:
                del changed[at : at + luck.randint(1, 8)]
            case 2:
                changed[at:at] = luck.choice(ODD)
            case 3:
                changed[at:at] = changed[max(0, at - 10) : at]
    return bytes(changed)


def one_line(text: bytes) -> str:
    return text.decode("latin-1").translate({10: None, 13: None})


@pytest.mark.parametrize("seed", range(8))
def test_mutated_requests_find_no_mistake(server: ServerProcess, seed: int) -> None:
    luck = random.Random(seed)
    job_id = server.submit("writes-files", {"text": "x"})
    server.wait_for(job_id)
    for _ in range(60):
        method, path, headers, body = luck.choice(REQUESTS)
        path = path.format(id=job_id)
        match luck.randrange(3):
            case 0:
                body = mutated(body, luck)
            case 1:
                path = "/" + one_line(mutated(path.encode(), luck)).replace(" ", "").lstrip("/")
            case 2:
                headers = [(name, one_line(mutated(value.encode(), luck))) for name, value in headers]
        request = request_bytes(method, path, headers, body)
        reply = exchange(server, request)
        assert reply is None or reply.status < 500, (request, reply)
        if reply is not None and reply.status > 400:
            assert reply.headers["Content-Type"].startswith(("application/problem+json", "text/plain")), (
                request,
                reply,
            )
