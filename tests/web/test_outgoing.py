"""Requests that the server makes for clients: nothing is connected to but public addresses and what is excepted, and
no receiver can hold the server up, fill its memory or lead it elsewhere. Real sockets on the loopback throughout.
"""

import asyncio
import gzip
import socket
import ssl
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import uvloop
from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from yarl import URL

from server import outgoing as module
from server.addresses import AllowList
from server.connections import MAX_LOOKUPS, GuardedConnector, Lookup, PublicNames
from server.errors import UrlRefusedError
from server.outgoing import Answer, Outgoing, Unreachable, check_url, retry_after_s

NOBODY = AllowList()
LOOPBACK = AllowList(["127.0.0.1", "127.0.0.2"])
BODY = b'{"type":"job.completed"}'

connects: list[Any] = []
"""The addresses that this process has tried to connect to."""


def _listen_in(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        connects.append(arguments[1])


sys.addaudithook(_listen_in)


@pytest.fixture(autouse=True)
def _forget_connects() -> None:
    connects.clear()


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """Listens on the loopback, where nobody may come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@asynccontextmanager
async def sending(
    allowed: AllowList = LOOPBACK, timeout_s: float = 5.0, lookup: Lookup | None = None
) -> AsyncIterator[Outgoing]:
    outgoing = Outgoing(allowed, timeout_s=timeout_s, lookup=lookup)
    try:
        yield outgoing
    finally:
        await outgoing.close()


async def refused(outgoing: Outgoing, url: str) -> Unreachable:
    with pytest.raises(Unreachable) as raised:
        await outgoing.post(url, BODY, {})
    return raised.value


def assert_nobody_came(trap: socket.socket) -> None:
    assert connects == []
    with pytest.raises(BlockingIOError):
        trap.accept()


# Each with `{port}` for the port of the trap.
LOOPBACKS = [
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://127.000.000.001:{port}/",
    "http://127.255.255.254:{port}/",
    "http://2130706433:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0177.0.0.0x1:{port}/",
    "http://0x7f000001:{port}/",
    "http://0X7F000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0x7f.1:{port}/",
    "http://127.0x1:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://127。0。0。1:{port}/",
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost.:{port}/",
    "http://LocalHost:{port}/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/",
    "http://app.localhost:{port}/",
    "http://a.b.localhost.:{port}/",
    "http://[::1]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2001:0:7f00:1::]:{port}/",
]
ELSEWHERE = [
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://2852039166/",  # 169.254.169.254
    "http://0xa9fea9fe/",
    "http://100.100.100.200/",
    "http://192.0.0.192/",
    "http://168.63.129.16/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1%25lo]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[fc00::1]/",
]
NOT_PLAIN = [
    "http://134744072/",  # 8.8.8.8: an address has one form
    "http://8.8.8.8./",
    "http://256.256.256.256/",
    "http://1.2.3.4.5/",
    "",
    "hooks.example",
    "//hooks.example/",
    "http:hooks.example/",
    "http:/hooks.example/",
    "http:///hooks.example/",
    "http://",
    "http://?a=1",
    "http://:80/",
    "ftp://hooks.example/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/",
    "unix:///run/docker.sock",
    "javascript:alert(1)",
    "data:text/plain,x",
    "ws://hooks.example/",
    "http+unix://%2Frun%2Fdocker.sock/",
    "http://user@hooks.example/",
    "http://user:password@hooks.example/",
    "http://@hooks.example/",
    "http://:@hooks.example/",
    "http://example.com@127.0.0.1:{port}/",
    "http://example.com:80@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@example.com/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@example.com/",
    "http:\\\\127.0.0.1:{port}\\",
    "http://hooks.example\\.127.0.0.1/",
    "http://hooks.example/\\",
    "http://hooks.example/ HTTP/1.1",
    "http://hooks.example/\r\nHost: 127.0.0.1",
    "http://hooks.example/\n",
    " http://hooks.example/",
    "\x00http://hooks.example/",
    "http://hooks.example\x00.127.0.0.1/",
    "http://hooks.example/\x00",
    "http://127.0.0.1\t:{port}/",
    "http://hooks.exa\u200bmple/",
    "http://hooks.exa\u00admple/",
    "http://hooks.example\u2028/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://127.0.0.1%2f:{port}/",
    "http://local%68ost:{port}/",
    "http://hooks.example%00/",
    "http://hooks..example/",
    "http://.hooks.example/",
    "http://hooks.example../",
    "http://hooks.example:0/",
    "http://hooks.example:65536/",
    "http://hooks.example:99999999999999999999/",
    "http://hooks.example:http/",
    "http://hooks.example:-1/",
    "http://hooks.example:+80/",
    "http://hooks.example:8_0/",
    "http://hooks.example:\u0663/",
    "http://hooks.example:80:80/",
    "http://[::1/",
    "http://::1/",
    "http://::1]/",
    "http://[]/",
    "http://[::1]x/",
    "http://[::1].example/",
    "http://x[::1]/",
    "http://[[::1]]/",
    "http://[v1.hooks]/",
    "http://[hooks.example]/",
    "http://[127.0.0.1]/",
    "http://hooks!example/",
    "http://hooks;example/",
    "http://" + "a" * 64 + ".example/",
    "http://" + ".".join(["a" * 63] * 4) + ".example/",
    "http://hooks.example/" + "a" * 2048,
    "http://hooks.example/" + "\u00e4" * 500,
]  # fmt: skip


@pytest.mark.parametrize("spelling", LOOPBACKS + ELSEWHERE + NOT_PLAIN)
async def test_no_spelling_gets_past_the_check(spelling: str, trap: socket.socket) -> None:
    url = spelling.replace("{port}", str(trap.getsockname()[1]))
    with pytest.raises(UrlRefusedError, match=r"^The URL"):
        check_url(url, NOBODY)
    async with sending(NOBODY) as outgoing:
        assert (await refused(outgoing, url)).permanent
    assert_nobody_came(trap)


@pytest.mark.parametrize("spelling", LOOPBACKS + ELSEWHERE + [url for url in NOT_PLAIN if "@127" in url])
async def test_the_socket_factory_alone_stops_every_spelling(
    spelling: str, trap: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the check and the look at the answers of DNS left out: aiohttp, given the URL as it stands."""
    monkeypatch.setattr(module, "check_url", unchecked)
    async with sending(NOBODY) as outgoing:
        let_names_through(outgoing)
        await refused(outgoing, spelling.replace("{port}", str(trap.getsockname()[1])))
    assert_nobody_came(trap)


@pytest.mark.parametrize("spelling", ["http://127.0.0.1:{port}/", "http://0x7f.1:{port}/", "http://localhost:{port}/"])
async def test_without_the_factory_they_would_be_connected_to(
    spelling: str, trap: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the trap is one."""
    monkeypatch.setattr(module, "check_url", unchecked)
    async with sending(NOBODY, timeout_s=0.2) as outgoing:
        let_names_through(outgoing)
        monkeypatch.setattr(connector(outgoing), "_socket_factory", None)
        assert "no answer" in str(await refused(outgoing, spelling.replace("{port}", str(trap.getsockname()[1]))))
    assert connects
    trap.accept()[0].close()


def unchecked(url: str, allowed: AllowList) -> str:
    try:
        return str(URL(url))
    except ValueError as error:
        raise UrlRefusedError(str(error)) from None


def let_names_through(outgoing: Outgoing) -> None:
    connector(outgoing)._resolver = ThreadedResolver()


def connector(outgoing: Outgoing) -> GuardedConnector:
    found = outgoing._session.connector
    assert isinstance(found, GuardedConnector)
    return found


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://hooks.example", "https://hooks.example"),
        ("HTTPS://Hooks.Example:443/A?b=C", "https://hooks.example/A?b=C"),
        ("http://hooks.example:8080/", "http://hooks.example:8080/"),
        ("http://hooks.example./a", "http://hooks.example./a"),
        ("http://my_hooks.example/", "http://my_hooks.example/"),
        ("https://hooks.example/a#top", "https://hooks.example/a"),
        ("https://hooks.example/a@b?c=d@e", "https://hooks.example/a@b?c=d@e"),
        ("https://hooks.example/?next=http://127.0.0.1/", "https://hooks.example/?next=http://127.0.0.1/"),
        ("https://b\u00fccher.example/\u00e4", "https://xn--bcher-kva.example/%C3%A4"),
        ("https://localhost.example/", "https://localhost.example/"),
        ("https://notlocalhost/", "https://notlocalhost/"),
        ("https://1password.example/", "https://1password.example/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2001:4860:4860:0::8888]/", "https://[2001:4860:4860::8888]/"),
    ],
)
def test_a_plain_url_is_kept_in_its_normal_form(given: str, kept: str) -> None:
    assert check_url(given, NOBODY) == kept
    assert check_url(kept, NOBODY) == kept


@pytest.mark.parametrize(
    "url",
    [
        "http://10.1.2.3:8080/",
        "http://[fd00::1]/",
        "http://127.0.0.1:9/",
        "http://localhost:9/",
        "http://a.localhost:9/",
    ],
)
def test_what_the_operator_excepts_is_taken(url: str) -> None:
    allowed = AllowList(["10.1.2.3:8080", "fd00::/8", "127.0.0.1:9"])
    assert check_url(url, allowed) == url
    with pytest.raises(UrlRefusedError):
        check_url(url.replace(":8080", "").replace(":9", ":10").replace("fd00", "fc00"), allowed)


@given(st.text() | st.from_regex(r"https?://[\[\]:.%@0-9a-fx]{1,30}(:[0-9]+)?/.*", fullmatch=True))
def test_whatever_a_url_is_it_is_refused_or_stays_what_it_is(url: str) -> None:
    try:
        checked = check_url(url, NOBODY)
    except UrlRefusedError:
        return
    assert check_url(checked, NOBODY) == checked
    assert checked.isascii()


def answering(*answers: list[str]) -> Lookup:
    """A look-up that gives these answers, one list after the other, and the last for ever."""
    left = list(answers)

    def look_up(host: str, port: int) -> list[tuple[Any, ...]]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    return look_up


async def test_a_name_is_looked_at_again_for_every_request(trap: socket.socket) -> None:
    """DNS rebinding: first an address that may be requested, then the loopback."""
    port = trap.getsockname()[1]
    lookup = answering(["127.0.0.2"], ["127.0.0.1"])
    async with sending(AllowList(["127.0.0.2"]), lookup=lookup) as outgoing:
        assert not (await refused(outgoing, f"http://rebound.example:{port}/")).permanent
        assert connects == [("127.0.0.2", port)]
        connects.clear()
        assert (await refused(outgoing, f"http://rebound.example:{port}/")).permanent
    assert_nobody_came(trap)


async def test_an_answer_that_changes_between_two_looks_is_stopped_at_the_socket(trap: socket.socket) -> None:
    """As if the name were looked up once for the check and once for the connect."""

    class Rebinding(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, *_: Any, **__: Any) -> list[ResolveResult]:
            checked = await resolver.resolve(host, port)
            return [ResolveResult({**answer, "host": "127.0.0.1"}) for answer in checked]

        async def close(self) -> None:
            """Keeps nothing."""

    async with sending(NOBODY, lookup=answering(["93.184.215.14"])) as outgoing:
        resolver = connector(outgoing)._resolver
        connector(outgoing)._resolver = Rebinding()
        assert (await refused(outgoing, f"http://rebound.example:{trap.getsockname()[1]}/")).permanent
    assert_nobody_came(trap)


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["::1"],
        ["93.184.215.14", "127.0.0.1"],
        ["127.0.0.1", "93.184.215.14"],
        ["2606:2800:21f::1", "10.0.0.1"],
        ["93.184.215.14", "::ffff:127.0.0.1"],
        ["93.184.215.14", "fe80::1%eth0"],
        ["10.0.0.1", "10.0.0.2", "::1"],
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_one_answer_that_is_not_public_spoils_the_others(
    scheme: str, answers: list[str], trap: socket.socket
) -> None:
    async with sending(NOBODY, lookup=answering(answers)) as outgoing:
        unreachable = await refused(outgoing, f"{scheme}://mixed.example:{trap.getsockname()[1]}/")
    assert unreachable.permanent
    assert "HEADWAY_WEBHOOK_ALLOW" in str(unreachable)
    assert not any(address in str(unreachable) for address in answers), "tells how the names of a network resolve"
    assert_nobody_came(trap)


@pytest.mark.parametrize("answers", [["127.0.0.1", "10.0.0.1"], ["::1", "127.0.0.1"], ["::1", "10.0.0.1"]])
async def test_the_sockets_of_several_answers_are_refused_for_good(
    answers: list[str], trap: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By happy eyeballs, which tries them side by side and puts their errors together."""
    async with sending(NOBODY, lookup=answering(answers)) as outgoing:
        monkeypatch.setattr(connector(outgoing)._resolver, "_allowed", AllowList(["0.0.0.0/0", "::/0"]))
        assert (await refused(outgoing, f"http://mixed.example:{trap.getsockname()[1]}/")).permanent
    assert_nobody_came(trap)


async def test_answers_beside_an_excepted_one_are_left_out() -> None:
    allowed = AllowList(["127.0.0.1"])
    async with receiver(saying(OK)) as (port, _), sending(allowed, lookup=answering(["::1", "127.0.0.1"])) as outgoing:
        assert await outgoing.post(f"http://localhost:{port}/", BODY, {}) == Answer(200, None)
    assert connects == [("127.0.0.1", port)]


async def test_look_ups_that_hang_are_bounded_and_hold_nothing_else_up() -> None:
    release = threading.Event()

    def lookup(host: str, port: int) -> list[tuple[Any, ...]]:
        if host == "hangs.example":
            release.wait()
        return answering(["127.0.0.1"])(host, port)

    try:
        async with receiver(saying(OK)) as (port, _), sending(timeout_s=0.3, lookup=lookup) as outgoing:
            hanging = [refused(outgoing, f"http://hangs.example:{port}/") for _ in range(MAX_LOOKUPS - 1)]
            assert {str(each) for each in await asyncio.gather(*hanging)} == {"There was no answer within 0.3 s."}
            assert (await outgoing.post(f"http://quick.example:{port}/", BODY, {})).status == 200
            await refused(outgoing, f"http://hangs.example:{port}/")
            assert "could not be found" in str(await refused(outgoing, f"http://quick.example:{port}/"))
            release.set()
            names = connector(outgoing)._resolver
            assert isinstance(names, PublicNames)
            for _ in range(500):
                if names._under_way == 0:
                    break
                await asyncio.sleep(0.01)
            assert (await outgoing.post(f"http://quick.example:{port}/", BODY, {})).status == 200
    finally:
        release.set()


# Receivers

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Seen:
    """What a receiver has been sent, and how much it could send."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.sent_bytes = 0
        self.reader = asyncio.StreamReader()
        self.came = asyncio.Event()
        self.gone = asyncio.Event()


@asynccontextmanager
async def receiver(
    behave: Callable[[asyncio.StreamWriter, Seen], Awaitable[None]], **options: Any
) -> AsyncIterator[tuple[int, Seen]]:
    """A server on the loopback that reads a request and then behaves like this, until its peer is gone."""
    seen = Seen()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.reader = reader
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            seen.requests.append(head + await reader.readexactly(len(BODY)))
            await behave(writer, seen)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            seen.gone.set()
            writer.close()

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)  # so that what was sent was nearly taken
    async with await asyncio.start_server(accepted, sock=listener, **options):
        yield listener.getsockname()[1], seen


def saying(*parts: bytes) -> Callable[[asyncio.StreamWriter, Seen], Awaitable[None]]:
    async def say(writer: asyncio.StreamWriter, seen: Seen) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return say


def repeating(first: bytes, again: bytes) -> Callable[[asyncio.StreamWriter, Seen], Awaitable[None]]:
    """For ever, or for 10 GB."""

    async def repeat(writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.transport.set_write_buffer_limits(high=16_384)
        writer.write(first)
        while seen.sent_bytes < 10_000_000_000:
            writer.write(again)
            await writer.drain()
            seen.sent_bytes += len(again)

    return repeat


async def silent(writer: asyncio.StreamWriter, seen: Seen) -> None:
    seen.came.set()
    assert not await seen.reader.read()


async def test_a_request_is_what_it_should_be() -> None:
    async with receiver(saying(OK)) as (port, seen), sending() as outgoing:
        headers = {"Content-Type": "application/json", "webhook-id": "msg_1"}
        assert await outgoing.post(f"http://127.0.0.1:{port}/hook?token=t", BODY, headers) == Answer(200, None)
    head, _, body = seen.requests[0].partition(b"\r\n\r\n")
    request_line, *lines = head.decode().split("\r\n")
    assert request_line == "POST /hook?token=t HTTP/1.1"
    assert body == BODY
    sent = dict(line.split(": ", 1) for line in lines)
    assert sent.pop("User-Agent").startswith("Headway/")
    assert sent == {
        "Host": f"127.0.0.1:{port}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "Content-Length": str(len(BODY)),
        **headers,
    }


async def test_nothing_of_the_environment_and_nothing_of_an_earlier_answer_goes_along(
    trap: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine cookies.example login somebody password secret\n", "utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.getsockname()[1]}")
    cookie = b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=b; Path=/\r\nConnection: keep-alive\r\n\r\n"
    async with receiver(saying(cookie)) as (port, seen), sending(lookup=answering(["127.0.0.1"])) as outgoing:
        for _ in range(2):
            await outgoing.post(f"http://cookies.example:{port}/", BODY, {})
    assert seen.requests[0] == seen.requests[1]
    assert b"Authorization" not in seen.requests[0]
    with pytest.raises(BlockingIOError):
        trap.accept()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_that_nobody_follows(status: int, trap: socket.socket) -> None:
    elsewhere = (
        f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{trap.getsockname()[1]}/\r\nContent-Length: 0\r\n\r\n"
    )
    async with receiver(saying(elsewhere.encode())) as (port, _), sending() as outgoing:
        assert (await outgoing.post(f"http://127.0.0.1:{port}/", BODY, {})).status == status
    assert connects == [("127.0.0.1", port)]
    with pytest.raises(BlockingIOError):
        trap.accept()


async def test_a_receiver_that_hangs_is_given_up() -> None:
    async with receiver(silent) as (port, _), sending(timeout_s=0.2) as outgoing:
        unreachable = await refused(outgoing, f"http://127.0.0.1:{port}/")
    assert str(unreachable) == "There was no answer within 0.2 s."
    assert not unreachable.permanent


async def test_one_that_hangs_after_its_headers_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_PATIENCE_S", 0.1)

    async def half(writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 100\r\n\r\nhalf")
        await asyncio.Event().wait()

    async with receiver(half) as (port, _), sending() as outgoing:
        assert await outgoing.post(f"http://127.0.0.1:{port}/", BODY, {}) == Answer(503, 7.0)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"", "The connection was closed before there was an answer."),
        (b"HTTP/1.1 200 OK\r\nConte", "The connection was closed before there was an answer."),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "The answer was not valid HTTP."),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "The answer was not valid HTTP."),
        (b"HTTP/1.1 9999 OK\r\n\r\n", "The answer was not valid HTTP."),
        (b"\x00" * 100, "The answer was not valid HTTP."),
    ],
)
async def test_an_answer_that_is_none_is_said_to_be_none(said: bytes, text: str) -> None:
    async with receiver(saying(said)) as (port, _), sending() as outgoing:
        unreachable = await refused(outgoing, f"http://127.0.0.1:{port}/")
    assert str(unreachable) == text
    assert not unreachable.permanent


async def test_a_body_that_is_broken_off_is_still_an_answer() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    async with receiver(saying(said)) as (port, _), sending() as outgoing:
        assert (await outgoing.post(f"http://127.0.0.1:{port}/", BODY, {})).status == 200


async def test_a_port_where_nobody_listens_is_no_answer(trap: socket.socket) -> None:
    port = trap.getsockname()[1]
    trap.close()
    async with sending() as outgoing:
        unreachable = await refused(outgoing, f"http://127.0.0.1:{port}/")
    assert str(unreachable) == "The URL's host could not be connected to (Connection refused)."
    assert not unreachable.permanent


FLOODS = {
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"x" * 65_536),
    "a body without an end": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
    "small chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000),
    "a gzip bomb": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
        gzip.compress(bytes(10_000_000)),
    ),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Header: value\r\n" * 1000),
    "one header": (b"HTTP/1.1 200 OK\r\nX-Header: ", b"x" * 65_536),
    "a reason": (b"HTTP/1.1 200 ", b"x" * 65_536),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_is_cut_off_after_little_of_it(flood: str) -> None:
    async with receiver(repeating(*FLOODS[flood])) as (port, seen), sending() as outgoing:
        tracemalloc.start()
        try:
            status: int | None = (await outgoing.post(f"http://127.0.0.1:{port}/", BODY, {})).status
        except Unreachable:
            status = None
        _, most_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await asyncio.wait_for(seen.gone.wait(), 10)
    assert status == (None if flood in ("headers", "one header", "a reason", "interim answers") else 200)
    assert seen.sent_bytes < 500_000
    assert most_bytes < 2_000_000


async def test_a_request_that_is_cancelled_leaves_no_connection_open() -> None:
    async with receiver(silent) as (port, seen), sending() as outgoing:
        task = asyncio.create_task(outgoing.post(f"http://127.0.0.1:{port}/", BODY, {}))
        await seen.came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(seen.gone.wait(), 5)


async def test_after_closing_there_are_no_requests() -> None:
    async with receiver(saying(OK)) as (port, seen), sending() as outgoing:
        await outgoing.close()
        assert str(await refused(outgoing, f"http://127.0.0.1:{port}/")) == "The request could not be made."
    assert not seen.requests


async def test_nothing_of_a_url_but_its_host_is_in_a_message_or_in_the_log(
    trap: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "hunter2"  # noqa: S105
    caplog.set_level("DEBUG")
    with capture_logs() as logged:
        async with (
            receiver(saying(b"HTTP/1.1 hunter2")) as (port, _),
            sending(timeout_s=0.5, lookup=answering(["10.0.0.1"])) as outgoing,
        ):
            origins = [
                f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}", "http://name.example", "http://10.0.0.1",
                "http://127.0.0.2:1", f"http://{secret}@name.example", "http://name.example:x", "http://[", "http://a..b",
            ]  # fmt: skip
            messages = [str(await refused(outgoing, f"{each}/{secret}?token={secret}#{secret}")) for each in origins]
    assert len(messages) == 9
    assert logged
    assert secret not in " ".join([*messages, repr(logged), caplog.text])


@pytest.fixture
def certificate(tmp_path: Any) -> ssl.SSLContext:
    """Of hooks.example and 127.0.0.1, signed by itself."""
    (tmp_path / "certificate.pem").write_text(CERTIFICATE + KEY, "utf-8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem")
    return context


async def test_a_certificate_that_nobody_vouches_for_is_no_answer(certificate: ssl.SSLContext) -> None:
    async with receiver(saying(OK), ssl=certificate) as (port, seen), sending() as outgoing:
        unreachable = await refused(outgoing, f"https://127.0.0.1:{port}/")
    assert str(unreachable) == "The certificate of the URL's host is not valid (self-signed certificate)."
    assert not unreachable.permanent
    assert not seen.requests


@pytest.mark.parametrize(("host", "valid"), [("hooks.example", True), ("other.example", False)])
async def test_a_certificate_must_be_the_hosts(host: str, valid: bool, certificate: ssl.SSLContext) -> None:
    async with receiver(saying(OK), ssl=certificate) as (port, _), sending(lookup=answering(["127.0.0.1"])) as outgoing:
        connector(outgoing)._ssl = ssl.create_default_context(cadata=CERTIFICATE)
        if valid:
            assert (await outgoing.post(f"https://{host}:{port}/", BODY, {})).status == 200
        else:
            assert "Hostname mismatch" in str(await refused(outgoing, f"https://{host}:{port}/"))


@pytest.mark.parametrize("tls", [False, True])
def test_under_uvloop_it_is_the_same(tls: bool, certificate: ssl.SSLContext) -> None:
    """The server's loop: its transports and sockets are its own."""

    async def check() -> None:
        scheme, options = ("https", {"ssl": certificate}) if tls else ("http", {})
        async with sending(lookup=answering(["127.0.0.1"])) as outgoing:
            connector(outgoing)._ssl = ssl.create_default_context(cadata=CERTIFICATE)
            async with receiver(saying(OK), **options) as (port, _):
                assert (await outgoing.post(f"{scheme}://hooks.example:{port}/", BODY, {})).status == 200
                assert (await refused(outgoing, f"{scheme}://127.0.0.3:{port}/")).permanent
            async with receiver(repeating(*FLOODS["interim answers"]), **options) as (port, seen):
                assert "closed" in str(await refused(outgoing, f"{scheme}://hooks.example:{port}/"))
                await asyncio.wait_for(seen.gone.wait(), 10)
                assert seen.sent_bytes < 500_000
            async with receiver(repeating(*FLOODS["a body"]), **options) as (port, seen):
                assert (await outgoing.post(f"{scheme}://hooks.example:{port}/", BODY, {})).status == 200
                await asyncio.wait_for(seen.gone.wait(), 10)
                assert seen.sent_bytes < 500_000

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(check())


NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("86401", 86_400.0),
        ("9" * 8_000, 86_400.0),
        ("-5", None),
        ("1.5", None),
        ("\u0663", None),
        ("soon", None),
        ("Sat, 21 Nov 2026 12:01:30 GMT", 90.0),
        ("Saturday, 21-Nov-26 12:01:30 GMT", 90.0),
        ("Sat Nov 21 12:01:30 2026", 90.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("Sat, 21 Nov 2099 11:00:00 GMT", 86_400.0),
        ("Sat, 32 Nov 2026 11:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


@given(st.text())
def test_whatever_a_retry_after_is_it_is_no_error(value: str) -> None:
    seconds = retry_after_s(value, NOW)
    assert seconds is None or 0 <= seconds <= 86_400


CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBpjCCAU2gAwIBAgIUJj0FTgXX5WpvMzB37BDORN2glYQwCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNaG9va3MuZXhhbXBsZTAgFw0yNjExMjEwMTIwNDZaGA8yMTI2
MTAyODAxMjA0NlowGDEWMBQGA1UEAwwNaG9va3MuZXhhbXBsZTBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABA36dlZrtnL5BURRJT0CZzMeQYl1MJZPUC8ImydJAfeL
uK1eKYt9WIhLq+FmiQQFQdNuE7+vF3jXcg7yFVb90W2jczBxMB0GA1UdDgQWBBSh
2SrWaxZWQW5756/0yNeXZCliQjAfBgNVHSMEGDAWgBSh2SrWaxZWQW5756/0yNeX
ZCliQjAPBgNVHRMBAf8EBTADAQH/MB4GA1UdEQQXMBWCDWhvb2tzLmV4YW1wbGWH
BH8AAAEwCgYIKoZIzj0EAwIDRwAwRAIgdTUy8eKg5ohD/iOUkBvLeyqAF/LOo3AA
o52rqOySc68CID5jnwnAji6xpvDGhzAvL53/84nBNAzVaKFLAowxxbyx
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYH+W9DSi1vZ9EPR2
WBCnh79ZNhi38nNsAPBW3wvpniGhRANCAAQN+nZWa7Zy+QVEUSU9AmczHkGJdTCW
T1AvCJsnSQH3i7itXimLfViIS6vhZokEBUHTbhO/rxd413IO8hVW/dFt
-----END PRIVATE KEY-----
"""
