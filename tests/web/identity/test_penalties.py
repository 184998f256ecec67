"""Refusals at a pace: clients that are refused again and again wait for it, and others do not."""

import contextlib
import signal
import socket
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request
from headway.web.identity import penalties
from headway.web.identity.penalties import (
    APART_S,
    AT_ONCE,
    BYTES_EACH,
    EXCUSED,
    HELD_BYTES_EACH,
    LONGEST_S,
    MOST_HELD_BYTES,
    MOST_OWED_S,
    PER_S,
    Late,
    Pace,
)

from tests.support.keys import bearer, make_key
from tests.support.process import WAIT_TIMEOUT_S, ServerProcess, eventually
from tests.support.raw import JSON, assert_problem, parse, read_to_end, request_bytes
from tests.support.serving import LATER, Serving

PUBLIC = {"HEADWAY_PUBLIC_URL": "http://jobs.example", "HEADWAY_MAX_BODY_BYTES": str(16 * 1024 * 1024)}
HERE, THERE = "127.0.0.1", "127.0.0.2"
LOCKED_OUT_FOR_S = MOST_OWED_S - LONGEST_S


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_first_refusals_come_at_once_and_further_ones_at_a_pace(clock: Clock) -> None:
    pace = Pace(clock)
    assert [pace.refuse("a", 1) for _ in range(AT_ONCE)] == [0] * AT_ONCE
    assert [pace.refuse("a", 1) for _ in range(3)] == pytest.approx([1 / PER_S, 2 / PER_S, 3 / PER_S])
    assert pace.refuse("b", 1) == 0
    clock.now_s += 2 / PER_S
    assert pace.owed_s("a") == pytest.approx(1 / PER_S)
    clock.now_s += 60
    assert [pace.refuse("a", 1) for _ in range(AT_ONCE)] == [0] * AT_ONCE


def test_a_large_refusal_counts_for_many_and_none_is_owed_for_long(clock: Clock) -> None:
    pace = Pace(clock)
    assert pace.refuse("a", AT_ONCE + PER_S) == pytest.approx(1)
    pace.refuse("a", 1e9)
    assert pace.owed_s("a") == MOST_OWED_S
    pace.refuse("a", 1, LONGEST_S)
    assert pace.owed_s("a") == MOST_OWED_S, "it is neither counted nor forgiven"
    pace.refuse("b", 1e9, LONGEST_S)
    assert pace.owed_s("b") == LONGEST_S


def test_of_very_many_the_longest_not_refused_are_forgotten(clock: Clock) -> None:
    pace = Pace(clock, max_sharers=2)
    for sharer in ("a", "b", "a", "c"):
        pace.refuse(sharer, AT_ONCE + PER_S)
    assert (len(pace), pace.owed_s("b")) == (2, 0)
    assert pace.owed_s("a") > 0


@pytest.fixture
def key(tmp_path: Path) -> str:
    return make_key(tmp_path, "ann")


@pytest.fixture
def server(serving: Serving, tmp_path: Path, key: str) -> ServerProcess:  # the key first: without one it does not start
    return serving(tmp_path, env=PUBLIC)


def connected(server: ServerProcess, address: str) -> socket.socket:
    return socket.create_connection((HERE, server.port), WAIT_TIMEOUT_S, source_address=(address, 0))


def test_late_responses_of_one_sharer_are_apart(clock: Clock) -> None:
    late = Late()
    assert [late.due_s(clock(), 2) - clock() for _ in range(3)] == pytest.approx([2, 2 + APART_S, 2 + 2 * APART_S])
    clock.now_s += 10
    assert [late.due_s(clock(), 1) - clock() for _ in range(2)] == pytest.approx([1, 1 + APART_S])


def refused(server: ServerProcess, stack: contextlib.ExitStack, count: int, request: bytes) -> list[socket.socket]:
    """So many connections from one address on which this was sent."""
    connections = [stack.enter_context(connected(server, THERE)) for _ in range(count)]
    for connection in connections:
        connection.sendall(request)
    return connections


def test_an_address_without_a_key_that_is_refused_too_often_waits(server: ServerProcess, key: str) -> None:
    """Other addresses, and keys at the same address, are not affected. A shutdown ends all waits."""
    with contextlib.ExitStack() as stack:
        waiting = refused(server, stack, AT_ONCE + 300, request_bytes("GET", "/nowhere"))
        for address, headers, status in ((HERE, (), 401), (THERE, tuple(bearer(key).items()), 200)):
            with connected(server, address) as other:
                other.sendall(request_bytes("GET", "/jobs", headers))
                assert parse(read_to_end(other)).status == status
        server.process.send_signal(signal.SIGTERM)
        assert {parse(read_to_end(connection)).status for connection in waiting} == {401}


def test_an_address_of_which_too_much_waits_is_cut_off(server: ServerProcess) -> None:
    """What has arrived of bodies counts: of a few hundred requests it is too much."""
    body = b"x" * 100_000
    enough = MOST_HELD_BYTES // (HELD_BYTES_EACH + len(body))
    with contextlib.ExitStack() as stack:
        waiting = refused(server, stack, AT_ONCE + enough + 150, request_bytes("POST", "/nowhere", JSON, body))
        eventually(lambda: any(map(is_cut, waiting)))


def is_cut(connection: socket.socket) -> bool:
    """Whether it has ended without a response."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_after_large_bodies_were_refused_an_owners_next_ones_are_not_read(
    server: ServerProcess, key: str, tmp_path: Path
) -> None:
    mine, theirs = [(*JSON, *bearer(each).items()) for each in (key, make_key(tmp_path, "bob"))]
    rubbish = b"x" * int(BYTES_EACH * (AT_ONCE + PER_S * LOCKED_OUT_FOR_S))
    with connected(server, HERE) as first:
        first.sendall(request_bytes("POST", "/jobs/noop", mine, rubbish))
        refused = parse(read_to_end(first))
    assert_problem(refused, 400, "malformed-request")

    def submit(headers: tuple[tuple[str, str], ...]) -> int:
        with connected(server, HERE) as connection:
            connection.sendall(request_bytes("POST", f"/jobs/noop{LATER}", headers, b"{}"))
            reply = parse(read_to_end(connection))
        if reply.status == 429:
            assert 1 <= int(reply.headers["Retry-After"]) <= MOST_OWED_S
            assert "were refused" in assert_problem(reply, 429, "too-many-requests")["detail"]
        return reply.status

    assert submit(theirs) == 202
    assert submit(mine) == 429
    with connected(server, HERE) as poll:
        poll.sendall(request_bytes("GET", "/jobs", mine))
        assert parse(read_to_end(poll)).status == 200


async def test_the_result_of_a_job_that_failed_with_a_429_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(penalties, "has_key", lambda _request: True)
    monkeypatch.setattr(penalties, "sharer", lambda _request: "owner ann")
    delays = penalties.Penalties(1, shared=True)
    request = make_mocked_request("GET", "/jobs/x/result")
    await delays.delay(request, 429)
    assert len(delays._pace) == 1
    delays._pace = Pace()
    request[EXCUSED] = True
    await delays.delay(request, 429)
    assert len(delays._pace) == 0


def test_what_is_asked_for_with_a_ticket_is_not_counted_as_the_jobs_owners(
    serving: Serving, tmp_path: Path, key: str
) -> None:
    server = serving(tmp_path, env={**PUBLIC, "HEADWAY_LISTS_PER_MINUTE": "5"})
    headers = {**bearer(key), "Host": "jobs.example"}
    job_id = server.request("POST", f"/jobs/noop{LATER}", {}, headers).json["jobId"]
    made = server.request("POST", f"/jobs/{job_id}/tickets", {}, headers)
    assert made.status == 201, made.body
    path = f"/jobs/{job_id}/files?ticket={made.json['ticket']}"
    asked = [server.request("GET", path, headers={"Host": "jobs.example"}).status for _ in range(6)]
    assert asked == [200] * 5 + [429]
    assert server.request("GET", "/jobs", headers=headers).status == 200
