"""Outgoing requests connect only to public addresses and those that the operator allows."""

import asyncio
import socket
import threading
from typing import Any

import pytest
from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from headway.domain.addresses import AllowList
from headway.domain.urls import check_url
from headway.errors import UrlRefusedError
from headway.webhooks import outgoing as module
from headway.webhooks.connector import MAX_LOOKUPS, PublicNames
from headway.webhooks.outgoing import Answer, Outgoing
from headway.webhooks.sender import MOST_AT_ONCE
from yarl import URL

from tests.support.receiving import (
    BODY,
    NOBODY,
    OK,
    answering,
    assert_nobody_came,
    connector,
    connects,
    receiver,
    refused,
    saying,
    sending,
)

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
async def test_no_spelling_of_an_address_gets_past_the_check(spelling: str, trap: socket.socket) -> None:
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


async def test_a_name_is_resolved_again_for_every_request(trap: socket.socket) -> None:
    """DNS rebinding: first an address that may be requested, then the loopback."""
    port = trap.getsockname()[1]
    lookup = answering(["127.0.0.2"], ["127.0.0.1"])
    async with sending(AllowList(["127.0.0.2"]), lookup=lookup) as outgoing:
        assert not (await refused(outgoing, f"http://rebound.example:{port}/")).permanent
        assert connects == [("127.0.0.2", port)]
        connects.clear()
        assert (await refused(outgoing, f"http://rebound.example:{port}/")).permanent
    assert_nobody_came(trap)


async def test_an_address_that_changes_after_the_check_is_rejected_at_the_socket(trap: socket.socket) -> None:
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
async def test_one_address_that_is_not_public_rejects_the_name(
    scheme: str, answers: list[str], trap: socket.socket
) -> None:
    async with sending(NOBODY, lookup=answering(answers)) as outgoing:
        unreachable = await refused(outgoing, f"{scheme}://mixed.example:{trap.getsockname()[1]}/")
    assert unreachable.permanent
    assert "HEADWAY_WEBHOOK_ALLOW" in str(unreachable)
    assert not any(address in str(unreachable) for address in answers), "tells how the names of a network resolve"
    assert_nobody_came(trap)


@pytest.mark.parametrize("answers", [["127.0.0.1", "10.0.0.1"], ["::1", "127.0.0.1"], ["::1", "10.0.0.1"]])
async def test_sockets_for_several_addresses_are_rejected_permanently(
    answers: list[str], trap: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By happy eyeballs, which tries them side by side and puts their errors together."""
    async with sending(NOBODY, lookup=answering(answers)) as outgoing:
        monkeypatch.setattr(connector(outgoing)._resolver, "_allowed", AllowList(["0.0.0.0/0", "::/0"]))
        assert (await refused(outgoing, f"http://mixed.example:{trap.getsockname()[1]}/")).permanent
    assert_nobody_came(trap)


async def test_addresses_beside_an_allowed_one_are_left_out() -> None:
    connects.clear()
    allowed = AllowList(["127.0.0.1"])
    async with receiver(saying(OK)) as (port, _), sending(allowed, lookup=answering(["::1", "127.0.0.1"])) as outgoing:
        assert await outgoing.post(f"http://localhost:{port}/", BODY, {}) == Answer(200, None)
    assert connects == [("127.0.0.1", port)]


async def test_hanging_names_leave_look_ups_for_others() -> None:
    answer = threading.Event()

    def lookup(host: str, port: int) -> list[tuple[Any, ...]]:
        if host == "hangs.example":
            answer.wait()
        return answering(["127.0.0.1"])(host, port)

    try:
        async with receiver(saying(OK)) as (port, _), sending(timeout_s=0.2, lookup=lookup) as outgoing:
            for _ in range(3):  # given up, and still looked up
                await asyncio.gather(*(refused(outgoing, "http://hangs.example/") for _ in range(MOST_AT_ONCE)))
            outgoing._timeout_s = 30
            assert (await outgoing.post(f"http://answers.example:{port}/", BODY, {})).status == 200
    finally:
        answer.set()


async def test_hanging_look_ups_are_bounded_and_delay_nothing_else() -> None:
    release = threading.Event()

    def lookup(host: str, port: int) -> list[tuple[Any, ...]]:
        if host == "hangs.example":
            release.wait()
        return answering(["127.0.0.1"])(host, port)

    try:
        async with receiver(saying(OK)) as (port, _), sending(timeout_s=0.3, lookup=lookup) as outgoing:
            hanging = [refused(outgoing, f"http://hangs.example:{port}/") for _ in range(MAX_LOOKUPS - 1)]
            assert {str(each) for each in await asyncio.gather(*hanging)} == {"There was no answer within 0.3 s."}
            outgoing._timeout_s = 30
            assert (await outgoing.post(f"http://quick.example:{port}/", BODY, {})).status == 200
            outgoing._timeout_s = 0.3
            await refused(outgoing, f"http://hangs.example:{port}/")
            assert "could not be found" in str(await refused(outgoing, f"http://quick.example:{port}/"))
            release.set()
            names = connector(outgoing)._resolver
            assert isinstance(names, PublicNames)
            for _ in range(500):
                if names._under_way == 0:
                    break
                await asyncio.sleep(0.01)
            outgoing._timeout_s = 30
            assert (await outgoing.post(f"http://quick.example:{port}/", BODY, {})).status == 200
    finally:
        release.set()
