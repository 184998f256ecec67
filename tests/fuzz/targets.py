"""The parsers that are fuzzed: their input, the errors that they document, and what holds for their results."""

import asyncio
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import Mock
from urllib.parse import quote

from aiohttp import StreamReader, hdrs, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from headway.domain.access import digest, is_name, is_token
from headway.domain.addresses import AllowList, refusal
from headway.domain.ids import is_job_id
from headway.domain.jobs import MAX_FILENAME_CHARS, LogLine
from headway.domain.media_types import content_type_of
from headway.domain.urls import check_url
from headway.errors import HeadwayError, SetupError, UrlRefusedError
from headway.limits import LOG_LINE_CHARS
from headway.links import Links
from headway.service.options import SubmitOptions
from headway.settings import Settings
from headway.text import clean_text
from headway.validation import validate
from headway.web.application import MAX_FIELD_BYTES
from headway.web.endpoints.files import _disposition
from headway.web.endpoints.history import AttemptsQuery, LogsQuery
from headway.web.endpoints.jobs import MAX_WAIT_S
from headway.web.links import LINKS
from headway.web.problems import KINDS, Problem, as_problem
from headway.web.request_ids import REQUEST_ID, request_id_bytes
from headway.web.requests import bodies, multipart
from headway.web.requests.envelope import Envelope
from headway.web.requests.filters import FilterQuery, ListQuery
from headway.web.requests.idempotency import HEADER, given_key
from headway.web.requests.preferences import preferred_wait_s
from headway.web.requests.query import query
from headway.web.requests.strict_json import parse_json
from headway.web.responses import files as sent_files
from headway.web.responses.headers import is_held
from headway.web.responses.ranges import wanted_spans
from headway.web.streams.events import log_event
from headway.web.streams.one import _placed
from headway.web.streams.response import Frame
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import BaseModel
from yarl import URL

from tests.support.process import parse_events

BOUNDARY = "b-o-u-n-d-a-r-y"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
SETTINGS_HERE = Settings(max_body_bytes=2_000, max_upload_bytes=3_000)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SIZE_BYTES, ETAG = 100, "17-64"

_app = web.Application()
_app[LINKS] = Links("")
_protocol: Any = SimpleNamespace(  # a mock would record every call
    ssl_context=None, peername=None, sockname=None, transport=None, max_field_size=MAX_FIELD_BYTES, max_headers=128
)
_template = make_mocked_request("GET", "/", app=_app, protocol=_protocol)
_loop = asyncio.new_event_loop()


class Target(NamedTuple):
    """A parser. `run` raises an exception for a finding."""

    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]


def request(
    headers: Mapping[str, str] | None = None, query: str = "", method: str = "GET", payload: Any = None
) -> web.Request:
    """A request as aiohttp's parser delivers it: headers may hold anything but line breaks and NUL."""
    made = _template.clone(method=method, rel_url=URL.build(path="/", query_string=query, encoded=True))
    made._headers = CIMultiDictProxy(CIMultiDict(headers or {}))
    if payload is not None:
        made._payload = payload
    return made


def header_text(data: bytes) -> str:
    """Decode bytes as a header's value."""
    return data.translate(None, b"\r\n\0").decode("utf-8", "surrogateescape").strip(" \t")


def refused(error: Problem | HeadwayError) -> None:
    """Check that a rejection blames the client and that its response can be sent."""
    problem = as_problem(error)
    assert 400 <= KINDS[problem.kind][0] < 500, problem.kind
    response = problem.response(request())
    body = json.loads(response.body)  # type: ignore[arg-type]
    assert body["status"] == problem.status
    for name, value in response.headers.items():
        assert not re.search(r"[\r\n\0]", name + value)


def of_json(data: bytes) -> None:
    try:
        value = parse_json(data)
    except (Problem, HeadwayError) as error:
        return refused(error)
    text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")  # finite, without lone surrogates
    assert parse_json(text) == value
    return None


def of_envelope(data: bytes) -> None:
    try:
        fields = parse_json(data)
        envelope = validate(Envelope, fields)
    except (Problem, HeadwayError) as error:
        return refused(error)
    assert isinstance(fields, dict)
    return _options_hold(envelope)


def _options_hold(options: SubmitOptions) -> None:
    assert options.label is None or not re.search(r"[\x00-\x1f\x7f-\x9f]", options.label)
    assert -100 <= options.priority <= 100
    if options.run_at is not None:
        assert options.run_at.utcoffset() == timedelta()
        assert options.run_at.isoformat()
    for seconds in (options.timeout_seconds, options.retain_seconds):
        assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


def of_query(model: type[BaseModel]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        text = "".join(chr(byte) if 33 <= byte < 127 and chr(byte) != "#" else f"%{byte:02X}" for byte in data)
        try:
            found = query(request(query=text), model)
        except (Problem, HeadwayError) as error:
            return refused(error)
        if isinstance(found, SubmitOptions):
            _options_hold(found)
        elif isinstance(found, FilterQuery):
            found.as_filter()
        elif isinstance(found, ListQuery):
            found.as_filter(found.type)
        return None

    return run


def of_idempotency_key(data: bytes) -> None:
    try:
        key = given_key(request({HEADER: header_text(data)}))
    except (Problem, HeadwayError) as error:
        return refused(error)
    assert key is not None
    assert 1 <= len(key) <= 255
    assert re.fullmatch(r"[ -~]+", key)
    return None


def of_prefer(data: bytes) -> None:
    wait_s = preferred_wait_s(request({"Prefer": header_text(data)}), MAX_WAIT_S)
    assert wait_s is None or 0 <= wait_s <= MAX_WAIT_S


def of_last_event_id(data: bytes) -> None:
    job = Mock(last_seq=1_000)
    cursor = _placed(header_text(data), job)
    assert cursor is None or 1 <= cursor <= job.last_seq


def of_job_id(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert not is_job_id(text) or re.fullmatch(r"[0-9a-f-]{36}", text)


def of_conditions(data: bytes) -> None:
    """The lines are `If-None-Match`, `If-Match`, `If-Range`, the dates and `Range`, in this order."""
    names = (
        *(hdrs.IF_NONE_MATCH, hdrs.IF_MATCH, hdrs.IF_RANGE, hdrs.IF_MODIFIED_SINCE, hdrs.IF_UNMODIFIED_SINCE),
        hdrs.RANGE,
    )
    lines = (header_text(line) for line in data.split(b"\n"))
    asked = request({name: line for name, line in zip(names, lines, strict=False) if line})
    is_held(asked, "7")
    try:
        sent_files._check_preconditions(asked, ETAG, 1e9)
        sent_files._not_modified(asked, ETAG, 1e9)
        if sent_files._wants_range(asked, ETAG, 1e9):
            spans = sorted(wanted_spans(asked.headers[hdrs.RANGE], SIZE_BYTES))
            assert all(0 <= span.first < span.end <= SIZE_BYTES for span in spans)
            assert all(before.end <= after.first for before, after in pairwise(spans))
            if "," not in asked.headers[hdrs.RANGE]:  # aiohttp's own parser agrees
                assert [tuple(span) for span in spans] == [asked.http_range.indices(SIZE_BYTES)[:2]]
    except (Problem, HeadwayError) as error:
        refused(error)


def of_form(data: bytes) -> None:
    stream = StreamReader(BaseProtocol(_loop, Mock()), 2**16, loop=_loop)
    stream.feed_data(data)
    stream.feed_eof()
    asked = request({"Content-Type": FORM}, method="POST", payload=stream)
    try:
        body = _loop.run_until_complete(multipart.read_multipart(asked, SETTINGS_HERE, None, "/input", hashing=False))
    except (Problem, HeadwayError) as error:
        return refused(error)
    for name in (*body.fields, *body.uploads):
        assert re.fullmatch(r"[A-Za-z_]\w{0,63}", name, re.ASCII)
    for upload in body.uploads.values():
        assert len(upload.filename) <= MAX_FILENAME_CHARS
        assert "\0" not in upload.filename + upload.content_type
        upload.filename.encode("utf-8")
    return None


def of_content_type(data: bytes) -> None:
    """Media types, charsets and codings of bodies, which are checked before a byte is read."""
    value, _, body = data.partition(b"\n")
    stream = StreamReader(BaseProtocol(_loop, Mock()), 2**16, loop=_loop)
    stream.feed_data(body)
    stream.feed_eof()
    asked = request({"Content-Type": header_text(value)}, method="POST", payload=stream)
    try:
        if bodies.media_type(asked) == "multipart/form-data":
            _loop.run_until_complete(multipart.read_multipart(asked, SETTINGS_HERE, None, "/input"))
        else:
            _loop.run_until_complete(bodies.read_json(asked, SETTINGS_HERE.max_body_bytes))
    except (Problem, HeadwayError) as error:
        refused(error)


def of_request_id(data: bytes) -> None:
    assert re.fullmatch(rb"[ -~]{1,128}", request_id_bytes(request({REQUEST_ID: header_text(data)})))


def of_webhook_url(data: bytes) -> None:
    url = data.decode("utf-8", "replace")
    allowed = AllowList(["127.0.0.1:8080", "10.0.0.0/8"])
    try:
        checked = check_url(url, allowed)
    except UrlRefusedError:
        return
    parsed = URL(checked)
    assert parsed.scheme in ("http", "https")
    assert parsed.host
    assert not parsed.user
    assert not parsed.fragment
    assert checked.isascii()
    assert re.fullmatch(r"[!-~]+", checked)
    assert check_url(checked, allowed) == checked
    with suppress(ValueError):  # a name
        assert allowed.refusal(parsed.host, parsed.port or 0) is None


def of_address(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(ValueError):
        refusal(text)
    with suppress(SetupError):
        AllowList([text])


def of_key(data: bytes) -> None:
    text = header_text(data)
    assert not is_token(text, "hwk_") or re.fullmatch(r"hwk_[!-~]+", text)
    is_name(text)
    with suppress(UnicodeEncodeError):
        digest(text)


def of_file_name(data: bytes) -> None:
    """The names that a handler gives to files are put into headers."""
    name = data.decode("utf-8", "replace")
    disposition = _disposition(name, inline=bool(data) and data[0] % 2 == 0)
    assert re.fullmatch(r"[ -~]+", disposition)
    assert re.fullmatch(r"[ -~]+", content_type_of(name))
    assert quote(name, safe="") in disposition


def of_log_line(data: bytes) -> None:
    """A handler's log line is one event, whatever it holds."""
    message = clean_text(data.decode("utf-8", "surrogateescape"), LOG_LINE_CHARS, lines=True)
    frame = Frame(log_event(LogLine(7, NOW, "info", message)))
    (event,) = parse_events(re.split(rb"(?<=\n)", frame.text)[:-1])
    assert (event.name, event.id) == ("log", "7")
    assert event.data["message"] == message
    assert re.split(rb"\r\n|\r|\n", frame.text)[4:] == [b""] or frame.text.count(b"\n") == 4


ENVELOPE = b'{"type":"noop","label":"a","priority":1,"runAt":"2026-01-01T00:00:00Z","timeoutSeconds":1.5,"input":{}}'
PART = b'--b-o-u-n-d-a-r-y\r\nContent-Disposition: form-data; name="%s"%s\r\n%s\r\n%s\r\n'
END = b"--b-o-u-n-d-a-r-y--\r\n"
A_FORM = (
    PART % (b"input", b"", b"Content-Type: application/json\r\n", b'{"a": [1, NaN]}')
    + PART % (b"document", b"; filename*=UTF-8''a%0d.txt", b"Content-Transfer-Encoding: base64\r\n", b"aGVsbG8=")
    + END
)
QUERY = b"label=a&priority=3&runAt=2026-01-01T00:00:00Z&timeoutSeconds=1.5&retainSeconds=9"
CONDITIONS = (
    b'W/"7", "a"\n"17-64"\nMon, 01 Jan 2001 00:00:00 GMT\nMon, 01 Jan 2001 00:00:00 GMT\n'
    b"Mon, 01 Jan 2001 00:00:00 GMT\nbytes=0-9"
)

TARGETS: Sequence[Target] = (
    Target("json", of_json, (b'{"a":[1,2.5,-0,1e99,"\\u00e9",null,true,{"b":"\\ud83d\\ude00"}]}', b"[" * 40)),
    Target("envelope", of_envelope, (ENVELOPE, b'{"type":"x","runAt":"9999-12-31T23:59:59-01:00"}')),
    Target("options", of_query(SubmitOptions), (QUERY, b"label=%ff", b"label=a&label=b")),
    Target("filter", of_query(FilterQuery), (b"status=queued,running&type=a&ids=x,y",)),
    Target("list", of_query(ListQuery), (b"status=failed&limit=5&createdAfter=2026-01-01T00:00:00Z&cursor=x",)),
    Target("logs", of_query(LogsQuery), (b"after=1&limit=2",)),
    Target("attempts", of_query(AttemptsQuery), (b"after=1&limit=2",)),
    Target("idempotency", of_idempotency_key, (b'"8e03978e-40d5"', b'"a\\"b"; a=1; b=?1; c=:aGk=:; d="x"; e=*t')),
    Target("prefer", of_prefer, (b"wait=5", b'respond-async, wait="10"; x, foo="a\\"b,c"', b'"' * 50)),
    Target("last-event-id", of_last_event_id, (b"7", b"\xc2\xb2")),
    Target("job-id", of_job_id, (b"01900000-0000-7000-8000-000000000000",)),
    Target("conditions", of_conditions, (CONDITIONS, b"*\n*\n\n\n\nbytes=-5", b"\n\n\n\n\nbytes=90-")),
    Target("form", of_form, (A_FORM, A_FORM[:-10], PART % (b"a", b"", b"", b"x") * 3 + END)),
    Target("body", of_content_type, (b"application/json; charset=utf-8\n{}", b'multipart/form-data; boundary="x"\n')),
    Target("request-id", of_request_id, (b"abc-1",)),
    Target(
        "webhook-url", of_webhook_url, (b"https://a.example:8443/a?b=c", b"http://[fe80::1%25e]:80/", b"http://0x7f.1")
    ),
    Target("address", of_address, (b"10.0.0.0/8", b"[fd00::1]:8080", b"::ffff:127.0.0.1", b"fe80::1%eth0")),
    Target("key", of_key, (b"hwk_" + b"a" * 43,)),
    Target("file-name", of_file_name, (b"data.csv.gz", b'a"b\\c;d%e\r\nX: y.txt', "日本語.csv".encode())),
    Target("log-line", of_log_line, (b"a\r\n\r\ndata: {}", "\u2028\u2029".encode())),
)

_WORDS = rb"""
    NaN Infinity 1e999 9223372036854775808 \ud800 \u0000 null true {} [] type input label runAt priority
    timeoutSeconds 2026-01-01T00:00:00Z +00:00 %00 wait= " \ ; , W/ bytes= GMT * filename*=utf-8'' filename=" name="
    Content-Type: Content-Disposition: form-data Content-Transfer-Encoding: quoted-printable base64 charset=
    Content-Encoding: gzip Content-Length: --b-o-u-n-d-a-r-y --b-o-u-n-d-a-r-y-- application/json boundary=
    multipart/form-data multipart/mixed _charset_ http:// https:// @ [::1] 127.0.0.1 0x7f %25 xn-- .. %2f hwk_
"""
WORDS: Sequence[bytes] = [*_WORDS.split(), b"\r\n", b"\r\n\r\n", b"\xff", b"\x00", b"\xef\xbc\x8e", b" "]
