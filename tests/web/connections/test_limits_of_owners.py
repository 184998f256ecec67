"""The limits on what an owner and an address may have at once: exact, felt by nobody else, and given back.

Real sockets of two owners with keys, and of clients without one. What is held has no answer yet, so as soon as those
beyond the limit have been refused, the rest is what the server holds.
"""

import contextlib
import json
import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from headway.web.connections.arriving_bodies import MAX_UPLOADS
from headway.web.connections.unauthenticated_bodies import MAX_PER_ADDRESS

from tests.support.holding import Ending, Held, close, reset, shut, unfinished_form, unfinished_json
from tests.support.keys import bearer, make_key
from tests.support.metrics import scrape, value
from tests.support.process import WAIT_TIMEOUT_S, ServerProcess, eventually
from tests.support.raw import JSON, Headers, RawReply, assert_problem, parse, read_to_end, request_bytes
from tests.support.serving import LATER, TEST_JOBS, Serving

PER_OWNER, PER_ADDRESS, MORE = 6, 4, 3
BODY_BYTES = 24 * 1024 * 1024
TEXTS = 2
"""Bodies of that size of which an owner may send so many at once: 64 MiB."""
LIMITS = {
    "HEADWAY_PUBLIC_URL": "http://jobs.example",
    "HEADWAY_TRUSTED_PROXIES": "127.0.9.9",
    "HEADWAY_MAX_STREAMS_PER_OWNER": str(PER_OWNER),
    "HEADWAY_MAX_STREAMS_PER_CLIENT": str(PER_ADDRESS),
    "HEADWAY_MAX_WAITS_PER_OWNER": str(PER_OWNER),
    "HEADWAY_MAX_WAITS_PER_CLIENT": str(PER_ADDRESS),
    "HEADWAY_MAX_BODY_BYTES": str(BODY_BYTES),
}
NOTHING_OPEN = {
    "connections_open": 1,
    "streams_open": 0,
    "waits_open": 0,
    "bodies_arriving": 0,
    "uploads_under_way": 0,
}
ENDINGS = [close, reset, shut]
PROXY = "127.0.9.9"
ADDRESSES = HERE, THERE, ELSEWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@dataclass
class Owner:
    """Somebody with a key and a job that does not start."""

    server: ServerProcess
    headers: Headers
    job: str
    admin: str

    def get(self, path: str, *more: tuple[str, str]) -> bytes:
        return request_bytes("GET", path.format(job=self.job), [*self.headers, *more])

    def send(self, request: bytes, address: str = HERE) -> RawReply:
        there = (HERE, self.server.port)
        with socket.create_connection(there, WAIT_TIMEOUT_S, source_address=(address, 0)) as connection:
            connection.sendall(request)
            return parse(read_to_end(connection))

    def assert_served(self) -> None:
        """A wait, a stream, an upload and a large body, of which others have too many."""
        job = self.send(request_bytes("POST", "/jobs/noop", [*JSON, *self.headers], b"{}")).json
        waited = self.send(request_bytes("GET", f"/jobs/{job['jobId']}?wait=50", self.headers))
        assert (waited.status, waited.json["status"]) == (200, "completed")
        streamed = self.send(self.get(f"/jobs/{job['jobId']}/progress"))
        assert streamed.status == 200
        document = unfinished_form(self.headers).replace(b"Content-Length: 100000", b"Content-Length: %d")
        head, _, body = document.partition(b"\r\n\r\n")
        body += b"\r\n--b-o-u-n-d-a-r-y--\r\n"
        assert self.send(head % len(body) + b"\r\n\r\n" + body).status == 202
        assert self.send(unfinished_json("/jobs/says", 100_000, self.headers) + b"}").status == 202

    def open(self) -> Mapping[str, float]:
        """What all clients hold open, as the server counts it."""
        counted = scrape(self.server, **bearer(self.admin))
        return {name: value(counted, f"headway_{name}") for name in NOTHING_OPEN}

    def assert_given_back(self) -> None:
        """Wait until nothing is open but the connection that asks."""
        eventually(lambda: self.open() == NOTHING_OPEN)


def owner(server: ServerProcess, key: str, admin: str) -> Owner:
    headers = dict(bearer(key))
    job = server.request("POST", f"/jobs/noop{LATER}", {}, headers).json["jobId"]
    return Owner(server, tuple(headers.items()), job, admin)


@pytest.fixture(scope="module")
def owners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Owner, Owner]]:
    folder = tmp_path_factory.mktemp("data")
    keys = [make_key(folder, name) for name in ("ann", "bob")]
    admin = make_key(folder, "operator", "--admin")
    with ServerProcess(folder, "--jobs", str(TEST_JOBS), env=LIMITS) as server:
        ann, bob = (owner(server, key, admin) for key in keys)
        yield ann, bob


def assert_refused(refusals: Sequence[RawReply], status: int, slug: str, detail: str) -> None:
    for refusal in refusals:
        problem = assert_problem(refusal, status, slug)
        assert detail in problem["detail"]
        assert 5 <= int(refusal.headers["Retry-After"]) <= 15


# Streams and waits

WAYS = {
    "streams": ("/jobs/{job}/progress", "too-many-streams"),
    "streams of many": ("/jobs/progress", "too-many-streams"),
    "waits": ("/jobs/{job}?wait=50", "too-many-waits"),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_owner_has_as_much_open_as_it_may_and_gets_it_back(owners: tuple[Owner, Owner], way: str) -> None:
    ann, bob = owners
    path, slug = WAYS[way]
    for ending in (close, reset):
        with Held(ann.server.port) as held:
            held.open(ann.get(path), PER_ADDRESS, THERE)
            held.open(ann.get(path), PER_OWNER - PER_ADDRESS, ELSEWHERE)
            held.open(ann.get(path), MORE, HERE)
            refusals = held.wait_for_refusals(MORE)
            assert_refused(refusals, 429, slug, f"limit of {PER_OWNER}")
            assert all("per owner" in refusal.json["detail"] for refusal in refusals)
            assert len(held.connections) == PER_OWNER
            bob.assert_served()
            held.end(ending)
        ann.assert_given_back()


@pytest.mark.parametrize("way", WAYS)
def test_an_ipv6_network_is_one_address(owners: tuple[Owner, Owner], way: str) -> None:
    ann, bob = owners
    path, slug = WAYS[way]
    with Held(ann.server.port) as held:
        for host in range(PER_ADDRESS + MORE):
            held.open(ann.get(path, ("X-Forwarded-For", f"2001:db8::{host:x}:1")), 1, PROXY)
        assert_refused(held.wait_for_refusals(MORE), 429, slug, "per client")
        assert len(held.connections) == PER_ADDRESS
        bob.assert_served()
        held.open(ann.get(path, ("X-Forwarded-For", "2001:db8:0:1::1")), PER_OWNER - PER_ADDRESS + 1, PROXY)
        assert_refused(held.wait_for_refusals(MORE + 1)[-1:], 429, slug, "per owner")
        held.end(reset)
    ann.assert_given_back()


# Uploads and bodies


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_owner_has_as_many_uploads_under_way_as_it_may(owners: tuple[Owner, Owner], ending: Ending) -> None:
    ann, bob = owners
    with Held(ann.server.port) as held:
        held.open(unfinished_form(ann.headers), MAX_UPLOADS // 2, THERE)
        held.open(unfinished_form(ann.headers), MAX_UPLOADS // 2 + MORE, ELSEWHERE)
        assert_refused(list(held.wait_for_refusals(MORE)), 429, "too-many-requests", f"limit of {MAX_UPLOADS} uploads")
        assert len(held.connections) == MAX_UPLOADS
        bob.assert_served()
        held.end(ending)
    ann.assert_given_back()


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_owner_has_as_many_bytes_read_at_once_as_it_may(owners: tuple[Owner, Owner], ending: Ending) -> None:
    ann, bob = owners
    body = unfinished_json("/jobs/says", BODY_BYTES, ann.headers)
    with Held(ann.server.port) as held:
        held.open(body, TEXTS + 1)
        assert_refused(list(held.wait_for_refusals(1)), 429, "too-many-requests", "67,108,864 bytes")
        assert len(held.connections) == TEXTS
        bob.assert_served()
        held.end(ending)
    ann.assert_given_back()


def test_what_is_under_way_is_given_back_at_the_deadline_of_a_slow_client(serving: Serving, tmp_path: Path) -> None:
    keys = [make_key(tmp_path / "data", name) for name in ("ann", "bob")]
    admin = make_key(tmp_path / "data", "operator", "--admin")
    server = serving(tmp_path / "data", env=LIMITS | {"HEADWAY_BODY_TIMEOUT_S": "2"})
    ann, bob = (owner(server, key, admin) for key in keys)
    for request, most in ((unfinished_form(ann.headers), MAX_UPLOADS), (sign_in(), MAX_PER_ADDRESS)):
        with Held(server.port) as held:
            held.open(request, most + MORE)
            refused = held.wait_for_refusals(MORE)
            ends = [*refused, *held.answers()]
            assert sorted(reply.status for reply in ends) == [408] * most + [429] * MORE
            bob.assert_served()
        ann.assert_given_back()
    assert not any((tmp_path / "data" / "incoming").iterdir())


def test_a_wait_gives_its_place_back_when_its_time_is_up(owners: tuple[Owner, Owner]) -> None:
    ann, _ = owners
    with Held(ann.server.port) as held:
        held.open(ann.get("/jobs/{job}?wait=1"), PER_ADDRESS)
        assert [reply.status for reply in held.answers()] == [202] * PER_ADDRESS
    ann.assert_given_back()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_however_clients_begin_and_end_everything_is_given_back(owners: tuple[Owner, Owner], seed: int) -> None:
    chance = random.Random(seed)
    ann, bob = owners
    requests = [sign_in()]
    for asking in owners:
        requests += [asking.get(path) for path, _ in WAYS.values()]
        requests += [
            asking.get("/jobs/{job}?wait=1"),
            unfinished_form(asking.headers),
            unfinished_json("/jobs/says", 70_000),
        ]
    with Held(ann.server.port) as held:
        for _ in range(200):
            if held.connections and chance.random() < 0.4:
                chance.choice((close, reset))(held.connections.pop(chance.randrange(len(held.connections))))
            else:
                request = chance.choice(requests)
                held.open(request[: chance.choice((None, chance.randrange(len(request))))], 1, chance.choice(ADDRESSES))
    ann.assert_given_back()
    bob.assert_served()


# Without a key


def sign_in(*headers: tuple[str, str]) -> bytes:
    """Its body does not end."""
    return request_bytes("POST", "/session", [*JSON, *headers, ("Content-Length", "1000")]) + b'{"key": "'


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_address_without_a_key_has_few_bodies_under_way(owners: tuple[Owner, Owner], ending: Ending) -> None:
    ann, bob = owners
    with Held(ann.server.port) as held:
        held.open(sign_in(), MAX_PER_ADDRESS + MORE, THERE)
        for refusal in held.wait_for_refusals(MORE):
            assert_problem(refusal, 429, "too-many-requests")
            assert refusal.headers["Retry-After"] == "10"
        assert len(held.connections) == MAX_PER_ADDRESS
        bob.assert_served()
        key = dict(ann.headers)["Authorization"].removeprefix("Bearer ")
        body = json.dumps({"key": key}).encode()
        assert ann.send(request_bytes("POST", "/session", JSON, body), ELSEWHERE).status == 200
        held.end(ending)
    ann.assert_given_back()


def test_an_ipv6_network_without_a_key_is_one_address(owners: tuple[Owner, Owner]) -> None:
    ann, _ = owners
    with Held(ann.server.port) as held:
        for host in range(MAX_PER_ADDRESS + MORE):
            held.open(sign_in(("X-Forwarded-For", f"2001:db8:0:7::{host:x}")), 1, PROXY)
        held.wait_for_refusals(MORE)
        assert len(held.connections) == MAX_PER_ADDRESS
        held.open(sign_in(("X-Forwarded-For", "2001:db8:0:8::1")), MAX_PER_ADDRESS + 1, PROXY)
        assert_problem(held.wait_for_refusals(MORE + 1)[-1], 429, "too-many-requests")
        assert len(held.connections) == 2 * MAX_PER_ADDRESS
    ann.assert_given_back()


# Connections

CONNECTIONS = 40


@pytest.fixture
def few(serving: Serving, tmp_path: Path) -> tuple[Owner, Owner]:
    """Two owners on a server with few connections."""
    keys = [make_key(tmp_path / "data", name) for name in ("ann", "bob")]
    admin = make_key(tmp_path / "data", "operator", "--admin")
    server = serving(tmp_path / "data", env=LIMITS | {"HEADWAY_MAX_CONNECTIONS": str(CONNECTIONS)})
    ann, bob = (owner(server, key, admin) for key in keys)
    return ann, bob


def test_an_owner_has_half_of_the_connections_in_use_at_most(few: tuple[Owner, Owner]) -> None:
    ann, bob = few
    most = CONNECTIONS // 2
    for ending in ENDINGS:
        with Held(ann.server.port) as held:
            for place in range(most + MORE):  # each address has a quarter until it shows a key
                held.open(unfinished_form(ann.headers), 1, f"127.0.1.{place + 1}")
            assert_refused(list(held.wait_for_refusals(MORE)), 503, "too-many-connections", "half of the connections")
            assert len(held.connections) == most
            bob.assert_served()
            held.end(ending)
        ann.assert_given_back()


def test_those_who_have_tickets_of_an_owner_have_a_quarter_of_the_connections_and_none_of_the_owners(
    few: tuple[Owner, Owner],
) -> None:
    ann, bob = few
    made = ann.send(request_bytes("POST", f"/jobs/{ann.job}/tickets", [*JSON, *ann.headers], b"{}"))
    waiting = request_bytes("GET", f"/jobs/{ann.job}?wait=50&ticket={made.json['ticket']}")
    half, quarter = CONNECTIONS // 2, CONNECTIONS // 4
    for ending in ENDINGS:
        with Held(ann.server.port) as tickets, Held(ann.server.port) as held:
            for place in range(quarter + MORE):
                tickets.open(waiting, 1, f"127.0.2.{place + 1}")
            assert_refused(list(tickets.wait_for_refusals(MORE)), 503, "too-many-connections", "Tickets of this owner")
            assert len(tickets.connections) == quarter
            for place in range(half - 1):
                held.open(unfinished_form(ann.headers), 1, f"127.0.1.{place + 1}")
            ann.assert_served()
            bob.assert_served()
            held.end(ending)
            tickets.end(ending)
        ann.assert_given_back()


def test_an_owners_idle_connections_make_room_for_its_new_ones(few: tuple[Owner, Owner]) -> None:
    ann, bob = few
    request = ann.get("/jobs/{job}").replace(b"Connection: close\r\n", b"")
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(2 * CONNECTIONS):
            opened.append(stack.enter_context(socket.create_connection((HERE, ann.server.port), WAIT_TIMEOUT_S)))
            opened[-1].sendall(request)
            assert opened[-1].recv(65_536).startswith(b"HTTP/1.1 202")
        bob.assert_served()
        assert opened[0].recv(1) == b"", "the longest idle was closed"
        opened[-1].sendall(request)
        assert opened[-1].recv(65_536).startswith(b"HTTP/1.1 202")
