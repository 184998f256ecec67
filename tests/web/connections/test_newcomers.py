"""Clients without a key: few connections from one address, small bodies, little time, and never all places."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from headway.web.connections.shares import Shares, newcomers, owned
from headway.web.connections.unauthenticated_bodies import MAX_PER_ADDRESS
from headway.web.identity.rates import SIGN_INS_PER_MINUTE

from tests.support.keys import bearer, make_key
from tests.support.process import WAIT_TIMEOUT_S, ServerProcess
from tests.support.raw import JSON, RawReply, assert_problem, parse, read_to_end, request_bytes
from tests.support.serving import Serving

PUBLIC = {"HEADWAY_PUBLIC_URL": "http://jobs.example"}
HERE, THERE, ELSEWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n%s\r\n"


class Guarded:
    """A server that needs keys, and its clients at several addresses."""

    def __init__(self, server: ServerProcess, key: str) -> None:
        self.server = server
        self.key = key
        self.headers = tuple(bearer(key).items())

    @contextlib.contextmanager
    def connected(self, address: str = HERE) -> Iterator[socket.socket]:
        there = (HERE, self.server.port)
        with socket.create_connection(there, WAIT_TIMEOUT_S, source_address=(address, 0)) as connection:
            yield connection

    def send(self, address: str, request: bytes) -> RawReply:
        with self.connected(address) as connection:
            connection.sendall(request)
            return parse(read_to_end(connection))

    def known(self, connection: socket.socket) -> bool:
        """Whether the connection is still good for a request, which comes with a key."""
        try:
            connection.sendall(GET % f"Authorization: Bearer {self.key}\r\n".encode())
            return connection.recv(65536).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            return False


Guarding = Callable[..., Guarded]


@pytest.fixture
def guarding(serving: Serving, tmp_path: Path) -> Guarding:
    def serve(**settings: object) -> Guarded:
        key = make_key(tmp_path / "data", "ann")
        env = {f"HEADWAY_{name.upper()}": str(value) for name, value in settings.items()}
        return Guarded(serving(tmp_path / "data", env=PUBLIC | env), key)

    return serve


def sign_in(key: str) -> bytes:
    return request_bytes("POST", "/session", JSON, json.dumps({"key": key}).encode())


# Connections


def test_slow_bodies_from_one_address_leave_room_for_everyone_else(guarding: Guarding) -> None:
    guarded = guarding(max_connections=60, body_timeout_s=3)
    slow = request_bytes("POST", "/session", [*JSON, ("Content-Length", "15000")]) + b'{"key": "'
    with contextlib.ExitStack() as stack:
        attackers = [stack.enter_context(guarded.connected(THERE)) for _ in range(150)]
        for connection in attackers:
            with contextlib.suppress(ConnectionError):  # already refused
                connection.sendall(slow)
        assert guarded.send(HERE, request_bytes("GET", "/jobs", guarded.headers)).status == 200
        assert guarded.send(ELSEWHERE, sign_in(guarded.key)).status == 200
        received = [read_to_end(connection) for connection in attackers]
    statuses = [parse(reply).status for reply in received if reply]
    assert statuses.count(408) <= MAX_PER_ADDRESS
    assert set(statuses) <= {408, 429, 503}


def test_a_connection_that_has_shown_a_key_is_closed_last(guarding: Guarding) -> None:
    guarded = guarding(max_connections=8)
    with contextlib.ExitStack() as stack:
        known = [stack.enter_context(guarded.connected()) for _ in range(3)]
        assert all(map(guarded.known, known))
        for place in range(30):
            newcomer = stack.enter_context(guarded.connected(f"127.0.1.{place + 1}"))
            newcomer.sendall(GET % b"")
            assert newcomer.recv(65536).startswith(b"HTTP/1.1 200")
        assert all(map(guarded.known, known)), "they were idle the longest, but others made room"


def test_connections_with_a_key_are_not_limited_by_address(guarding: Guarding) -> None:
    guarded = guarding(max_connections=24)
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(10):
            opened.append(stack.enter_context(guarded.connected()))
            assert guarded.known(opened[-1])
        assert all(guarded.known(connection) for connection in opened)


def test_an_address_that_opens_more_connections_loses_its_own(guarding: Guarding) -> None:
    guarded = guarding(max_connections=16)
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(guarded.connected(ELSEWHERE))
        opened = [stack.enter_context(guarded.connected(THERE)) for _ in range(12)]
        for connection in opened[:8]:
            assert connection.recv(1) == b""
        for connection in (*opened[8:], other):
            connection.sendall(GET % b"")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("known", [True, False])
def test_what_a_client_without_a_key_sends_after_its_answer_is_not_read_for_long(
    guarding: Guarding, *, known: bool
) -> None:
    guarded = guarding()
    size = 64 * 1024 * 1024
    headers = [*JSON, *(guarded.headers if known else ()), ("Content-Length", str(size))]
    with guarded.connected() as connection:
        connection.sendall(request_bytes("POST", "/jobs/nope", headers))
        if known:
            connection.sendall(bytes(size))
        else:
            with pytest.raises(ConnectionError):
                connection.sendall(bytes(size))
            return
        assert parse(read_to_end(connection)).status == 404


def test_behind_a_trusted_proxy_each_request_counts_for_itself(guarding: Guarding) -> None:
    guarded = guarding(trusted_proxies=HERE)
    size = 64 * 1024 * 1024
    for shown in (guarded.headers, ()):
        with guarded.connected() as connection:
            assert guarded.known(connection), "the proxy's connection has carried another client's key"
            connection.sendall(request_bytes("POST", "/jobs/nope", [*JSON, *shown, ("Content-Length", str(size))]))
            if shown:
                connection.sendall(bytes(size))
                assert parse(read_to_end(connection)).status == 404
            else:
                with pytest.raises(ConnectionError):
                    connection.sendall(bytes(size))


def test_after_a_429_less_is_read_than_after_a_401(guarding: Guarding) -> None:
    guarded = guarding(failed_sign_ins_per_minute=1)
    body = bytes(300_000)  # the system's buffers hold it, so it can always be sent
    with guarded.connected() as first, guarded.connected() as second:
        for connection, key, status in ((first, "hwk_wrong", 401), (second, "hwk_wrong", 429)):
            headers = f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n".encode()
            connection.sendall(b"POST /jobs/noop HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % headers)
            assert connection.recv(65536).startswith(b"HTTP/1.1 %d" % status)
            connection.sendall(body)
        assert guarded.known(first)
        assert not guarded.known(second)


def test_a_proxy_that_no_setting_names_is_warned_about_once(guarding: Guarding) -> None:
    guarded = guarding()
    for _ in range(2):
        guarded.send(HERE, request_bytes("GET", "/jobs", [("X-Forwarded-For", "192.0.2.1")]))
    assert guarded.server.log().count("HEADWAY_TRUSTED_PROXIES does not name") == 1


def test_a_proxy_that_is_named_may_have_many_connections(guarding: Guarding) -> None:
    guarded = guarding(max_connections=16, trusted_proxies=HERE)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(guarded.connected()) for _ in range(12)]
        for place, connection in enumerate(opened):
            connection.sendall(GET % f"X-Forwarded-For: 192.0.2.{place}\r\n".encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    assert "HEADWAY_TRUSTED_PROXIES" not in guarded.server.log()


# Bodies


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({f"key{number}": 1 for number in range(80_000)}).encode(),
        b"[" + b"1," * 500_000 + b"1]",
        b'{"key": "' + b"x" * 16_384 + b'"}',
    ],
    ids=["unknown fields", "a list", "a long key"],
)
def test_a_sign_in_has_a_small_body(guarding: Guarding, body: bytes) -> None:
    guarded = guarding()
    reply = guarded.send(HERE, request_bytes("POST", "/session", JSON, body))
    assert_problem(reply, 413, "too-large")
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    head = request_bytes("POST", "/session", [*JSON, ("Transfer-Encoding", "chunked")])
    assert_problem(guarded.send(HERE, head + chunked), 413, "too-large")


def test_a_sign_in_that_arrives_steadily_but_slowly_is_a_408(guarding: Guarding) -> None:
    guarded = guarding(body_timeout_s=1)
    with guarded.connected() as connection:
        connection.sendall(request_bytes("POST", "/session", [*JSON, ("Content-Length", "16000")]))
        with contextlib.suppress(ConnectionError):
            for _ in range(160):
                connection.sendall(b" " * 100)
                time.sleep(0.05)  # the pace of the client: that is the test
        assert_problem(parse(read_to_end(connection)), 408, "body-timeout")


def test_attempts_to_sign_in_are_counted_before_they_are_read(guarding: Guarding) -> None:
    guarded = guarding()
    malformed = request_bytes("POST", "/session", JSON, b"{")
    statuses = [guarded.send(THERE, malformed).status for _ in range(SIGN_INS_PER_MINUTE)]
    while statuses[-1] == 400 and len(statuses) < 2 * SIGN_INS_PER_MINUTE:  # room for some returns meanwhile
        statuses.append(guarded.send(THERE, malformed).status)
    assert statuses == [400] * (len(statuses) - 1) + [429]
    assert len(statuses) > SIGN_INS_PER_MINUTE
    assert guarded.send(HERE, sign_in(guarded.key)).status == 200
    assert guarded.send(THERE, request_bytes("GET", "/jobs", guarded.headers)).status == 200


# `Shares`


@dataclass(eq=False)
class Idle:
    idle: bool = True
    idle_until_s: float = 0.0


def test_newcomers_are_forgotten_when_they_leave() -> None:
    shares: Shares[Idle] = newcomers(8)
    each = Idle()
    shares.enter(each, HERE)
    assert each in shares
    shares.leave(each)
    shares.leave(each)
    assert each not in shares
    assert len(shares) == 0
    assert not shares.is_full_for(HERE)


def test_connections_in_use_are_not_closed_for_others() -> None:
    shares: Shares[Idle] = newcomers(8)
    for _ in range(2):
        shares.enter(Idle(idle=False), HERE)
    assert shares.is_full_for(HERE)
    assert shares.to_close(HERE) == []
    assert shares.to_close(THERE) == []


def test_the_longest_idle_of_all_make_room_when_the_places_without_a_key_are_taken() -> None:
    shares: Shares[Idle] = newcomers(8)
    entered = [Idle(idle_until_s=-place) for place in range(6)]
    for place, each in enumerate(entered):
        shares.enter(each, f"192.0.2.{place}")
    assert shares.to_close(HERE) == [entered[-1]]


def test_a_connection_counts_for_the_owner_of_its_latest_request_alone() -> None:
    shares: Shares[Idle] = owned(8)
    entered = [Idle() for _ in range(4)]
    for each in entered:
        shares.enter(each, "ann")
    assert shares.is_full_for("ann")
    shares.enter(entered[0], "bob")
    assert not shares.is_full_for("ann")
    assert shares.holder(entered[0]) == "bob"
    for each in entered:
        shares.leave(each)
    assert len(shares) == 0
    assert not shares._by_holder


def test_while_nothing_of_a_holder_is_idle_it_is_not_searched_again_at_once() -> None:
    now_s = 0.0
    shares: Shares[Idle] = Shares(8, 1, clock_s=lambda: now_s)
    each = Idle(idle=False)
    shares.enter(each, "ann")
    assert shares.to_close("ann") == []
    each.idle = True
    assert shares.to_close("ann") == []
    now_s = 0.2
    assert shares.to_close("ann") == [each]
