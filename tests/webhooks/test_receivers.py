"""No receiver of an outgoing request can delay the server, fill its memory or redirect it."""

import asyncio
import gzip
import socket
import ssl
import tracemalloc
from pathlib import Path

import pytest
import uvloop
from headway.webhooks import outgoing as module
from headway.webhooks.outgoing import Answer, Unreachable
from structlog.testing import capture_logs

from tests.support.receiving import (
    BODY,
    OK,
    Seen,
    answering,
    connector,
    connects,
    receiver,
    refused,
    repeating,
    saying,
    sending,
    silent,
)


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


async def test_no_proxy_cookie_or_credential_is_sent(
    trap: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
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
async def test_a_redirect_is_a_response_and_not_followed(status: int, trap: socket.socket) -> None:
    elsewhere = (
        f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{trap.getsockname()[1]}/\r\nContent-Length: 0\r\n\r\n"
    )
    async with receiver(saying(elsewhere.encode())) as (port, _), sending() as outgoing:
        assert (await outgoing.post(f"http://127.0.0.1:{port}/", BODY, {})).status == status
    assert connects == [("127.0.0.1", port)]
    with pytest.raises(BlockingIOError):
        trap.accept()


async def test_a_receiver_that_hangs_times_out() -> None:
    async with receiver(silent) as (port, _), sending(timeout_s=0.2) as outgoing:
        unreachable = await refused(outgoing, f"http://127.0.0.1:{port}/")
    assert str(unreachable) == "There was no answer within 0.2 s."
    assert not unreachable.permanent


async def test_a_receiver_that_hangs_after_its_headers_has_responded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_TIMEOUT_S", 0.1)

    async def half(writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 100\r\n\r\nhalf")
        await silent(writer, seen)  # until the sender gives up: since 3.12 a server waits for its open connections

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
async def test_a_response_that_is_not_http_is_reported(said: bytes, text: str) -> None:
    async with receiver(saying(said)) as (port, _), sending() as outgoing:
        unreachable = await refused(outgoing, f"http://127.0.0.1:{port}/")
    assert str(unreachable) == text
    assert not unreachable.permanent


async def test_a_truncated_body_is_still_a_response() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    async with receiver(saying(said)) as (port, _), sending() as outgoing:
        assert (await outgoing.post(f"http://127.0.0.1:{port}/", BODY, {})).status == 200


async def test_a_closed_port_is_no_response(trap: socket.socket) -> None:
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
async def test_a_flood_of_data_is_cut_off_early(flood: str) -> None:
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
        await asyncio.wait_for(seen.gone.wait(), 30)


async def test_after_close_no_request_is_sent() -> None:
    async with receiver(saying(OK)) as (port, seen), sending() as outgoing:
        await outgoing.close()
        assert str(await refused(outgoing, f"http://127.0.0.1:{port}/")) == "The request could not be made."
    assert not seen.requests


async def test_messages_and_the_log_contain_only_the_host_of_a_url(
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
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """Of hooks.example and 127.0.0.1, signed by itself."""
    (tmp_path / "certificate.pem").write_text(CERTIFICATE + KEY, "utf-8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem")
    return context


async def test_an_untrusted_certificate_is_rejected(certificate: ssl.SSLContext) -> None:
    async with receiver(saying(OK), ssl=certificate) as (port, seen), sending() as outgoing:
        unreachable = await refused(outgoing, f"https://127.0.0.1:{port}/")
    assert str(unreachable) == "The certificate of the URL's host is not valid (self-signed certificate)."
    assert not unreachable.permanent
    assert not seen.requests


@pytest.mark.parametrize(("host", "valid"), [("hooks.example", True), ("other.example", False)])
async def test_a_certificate_must_match_the_host(host: str, valid: bool, certificate: ssl.SSLContext) -> None:
    async with receiver(saying(OK), ssl=certificate) as (port, _), sending(lookup=answering(["127.0.0.1"])) as outgoing:
        connector(outgoing)._ssl = ssl.create_default_context(cadata=CERTIFICATE)
        if valid:
            assert (await outgoing.post(f"https://{host}:{port}/", BODY, {})).status == 200
        else:
            assert "Hostname mismatch" in str(await refused(outgoing, f"https://{host}:{port}/"))


@pytest.mark.parametrize("tls", [False, True])
def test_the_same_holds_under_uvloop(tls: bool, certificate: ssl.SSLContext) -> None:
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
