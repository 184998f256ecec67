"""Rate limits and shares by owner and by address: real requests to an exposed server."""

import asyncio
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from headway.app import operate
from headway.settings import Settings

from tests.support.process import Reply, ServerProcess, eventually
from tests.support.raw import JSON, RawReply, RawStream, assert_problem, send
from tests.support.serving import LATER, Serving

EXPOSED = {"HEADWAY_PUBLIC_URL": "http://jobs.example", "HEADWAY_TRUSTED_PROXIES": "127.0.0.1"}
"""As behind a proxy on this machine, so that these tests can come from any address."""

HERE, THERE = "192.0.2.1", "198.51.100.1"
WRONG_KEY = "hwk_" + "0" * 43


@pytest.fixture
def exposed(serving: Serving, tmp_path: Path) -> "Exposing":
    return Exposing(serving, tmp_path / "data")


class Exposing:
    """Starts an exposed server, and makes keys for it."""

    def __init__(self, serving: Serving, data_dir: Path) -> None:
        self._serving = serving
        self._data_dir = data_dir
        self.server: ServerProcess

    def __call__(self, **settings: object) -> ServerProcess:
        self.key("operator")  # without any key it would not start
        env = {f"HEADWAY_{name.upper()}": str(value) for name, value in settings.items()}
        self.server = self._serving(self._data_dir, env=EXPOSED | env)
        return self.server

    def key(self, name: str, owner: str | None = None) -> str:
        """As `run.py keys create` does it, beside the running server or before its start."""
        order = {"name": name, "owner": owner, "read_only": False, "admin": False}
        made = asyncio.run(operate(Settings(data_dir=str(self._data_dir)), "keys create", order))
        return str(made["key"])

    def ask(self, method: str, path: str, key: str | None, address: str = HERE, body: Any = None) -> Reply:
        headers = {"X-Forwarded-For": address} | ({} if key is None else {"Authorization": f"Bearer {key}"})
        return self.server.request(method, path, body, headers)

    def submit(self, key: str | None, address: str = HERE, path: str = f"/jobs/noop{LATER}") -> Reply:
        return self.ask("POST", path, key, address, {})


def limits(reply: Reply) -> dict[str, tuple[int, int]]:
    """What is left of each policy, and for how long."""
    found = re.findall(r'"([a-z-]+)";r=(\d+);t=(\d+)(?:, |$)', reply.headers["RateLimit"])
    return {policy: (int(left), int(seconds)) for policy, left, seconds in found}


def assert_too_many(reply: Reply | RawReply, kind: str = "too-many-requests") -> None:
    assert_problem(reply, 429, kind)
    assert 1 <= int(reply.headers["Retry-After"]) <= 120


def test_the_rate_limit_of_an_owner_covers_all_its_keys_and_addresses(exposed: Exposing) -> None:
    exposed(submissions_per_minute=3)
    ada, also_ada, bob = exposed.key("ada"), exposed.key("laptop", "ada"), exposed.key("bob")
    replies = [exposed.submit(key, address) for key, address in ((ada, HERE), (also_ada, THERE), (ada, "192.0.2.2"))]
    assert [reply.status for reply in replies] == [202] * 3
    assert [limits(reply)["submissions-by-owner"][0] for reply in replies] == [2, 1, 0]
    refused = exposed.submit(also_ada, "192.0.2.3")
    assert_too_many(refused)
    left, seconds = limits(refused)["submissions-by-owner"]
    assert (left, seconds) == (0, int(refused.headers["Retry-After"]))
    assert exposed.submit(bob, THERE).status == 202
    assert exposed.ask("GET", "/jobs", ada).status == 200, "reading is not submitting"


def test_the_rate_limit_of_an_address_covers_all_owners(exposed: Exposing) -> None:
    exposed(submissions_per_minute=3)
    keys = [exposed.key(name) for name in ("ada", "bob", "eve")]
    replies = [exposed.submit(key) for key in keys]
    assert [reply.status for reply in replies] == [202] * 3
    assert [limits(reply)["submissions-by-address"][0] for reply in replies] == [2, 1, 0]
    assert_too_many(exposed.submit(keys[0]))
    assert limits(exposed.submit(keys[0], THERE))["submissions-by-owner"][0] == 1, "a refused one is not counted"


def test_redeliveries_are_limited_per_owner_and_apart_from_submissions(exposed: Exposing) -> None:
    exposed(submissions_per_minute=2, webhook_allow="127.0.0.1")
    ada = exposed.key("ada")
    submitted = exposed.ask("POST", f"/jobs/noop{LATER}&webhookUrl=http://127.0.0.1:9/", ada, body={}).json
    assert exposed.ask("DELETE", f"/jobs/{submitted['jobId']}", ada).status == 204
    deliveries = f"/jobs/{submitted['jobId']}/deliveries"
    (delivery,) = exposed.ask("GET", deliveries, ada).json["deliveries"]
    again = f"{deliveries}/{delivery['deliveryId']}/redeliver"
    replies = [exposed.ask("POST", again, ada, address) for address in (HERE, THERE)]
    assert [reply.status for reply in replies] == [202, 202]
    assert [limits(reply)["redeliveries-by-owner"][0] for reply in replies] == [1, 0]
    refused = exposed.ask("POST", again, ada, "192.0.2.2")
    assert_too_many(refused)
    assert limits(refused)["redeliveries-by-owner"] == (0, int(refused.headers["Retry-After"]))
    assert exposed.submit(ada).status == 202


def test_tickets_are_limited_per_owner_and_apart_from_submissions(exposed: Exposing) -> None:
    exposed(submissions_per_minute=2)
    ada = exposed.key("ada")
    tickets = f"/jobs/{exposed.submit(ada).json['jobId']}/tickets"
    replies = [exposed.ask("POST", tickets, ada, address, body={}) for address in (HERE, THERE)]
    assert [reply.status for reply in replies] == [201, 201]
    assert [limits(reply)["tickets-by-owner"][0] for reply in replies] == [1, 0]
    assert_too_many(exposed.ask("POST", tickets, ada, "192.0.2.2", body={}))
    assert exposed.submit(ada).status == 202


def test_claims_are_limited_per_owner_and_apart_from_submissions(exposed: Exposing) -> None:
    exposed(submissions_per_minute=2)
    ada = exposed.key("ada")  # she may not work, which is said after counting: a guess costs as much as a claim
    replies = [exposed.ask("POST", "/work/noop/claim", ada, address) for address in (HERE, THERE)]
    assert [reply.status for reply in replies] == [403, 403]
    assert_too_many(exposed.ask("POST", "/work/noop/claim", ada, "192.0.2.2"))
    assert exposed.submit(ada).status == 202


def test_edits_are_limited_per_owner_and_apart_from_submissions(exposed: Exposing) -> None:
    exposed(submissions_per_minute=2)
    ada = exposed.key("ada")
    job = f"/jobs/{exposed.submit(ada).json['jobId']}"
    replies = [exposed.ask("PATCH", job, ada, address, body={"label": "x"}) for address in (HERE, THERE)]
    assert [reply.status for reply in replies] == [200, 200]
    assert [limits(reply)["edits-by-owner"][0] for reply in replies] == [1, 0]
    assert_too_many(exposed.ask("PATCH", job, ada, "192.0.2.2", body={"label": "y"}))
    assert exposed.submit(ada).status == 202


READS_MANY = ("/jobs", "/jobs?limit=200", "/jobs/stats", "/v1/jobs/operations", "/api/todos")


def test_lists_and_statistics_have_a_limit_of_their_own(exposed: Exposing) -> None:
    exposed(lists_per_minute=len(READS_MANY) + 1)
    ada, also_ada, bob = exposed.key("ada"), exposed.key("laptop", "ada"), exposed.key("bob")
    submitted = exposed.submit(ada)
    paths = (*READS_MANY, f"/jobs/{submitted.json['jobId']}/files")
    assert [exposed.ask("GET", path, ada).status for path in paths] == [200] * len(paths)
    refused = exposed.ask("GET", "/jobs", also_ada, THERE)
    assert_too_many(refused)
    assert limits(refused)["lists-by-owner"] == (0, int(refused.headers["Retry-After"]))
    assert exposed.ask("GET", "/jobs", bob).status == 200, "of the same address"
    assert exposed.ask("GET", f"/jobs/{submitted.json['jobId']}", ada).status == 202, "a poll is no list"
    assert exposed.submit(ada).status == 202


def test_streams_of_many_jobs_have_a_limit_of_their_own(exposed: Exposing) -> None:
    server = exposed(lists_per_minute=1, max_streams_per_owner=2)
    ada = exposed.key("ada")
    submitted = exposed.submit(ada).json["jobId"]
    assert exposed.ask("GET", "/jobs", ada).status == 200
    headers = (("Authorization", f"Bearer {ada}"), ("X-Forwarded-For", HERE))
    for _ in range(2):
        with RawStream(server, "/jobs/progress", headers) as stream:
            assert stream.status == 200
    with RawStream(server, "/jobs/progress", headers) as refused:
        assert refused.status == 429
        assert refused.headers["RateLimit"].startswith('"snapshots-by-owner";r=0;t=')
        assert int(refused.headers["Retry-After"]) >= 1
    with RawStream(server, f"/jobs/{submitted}/progress", headers) as stream:
        assert stream.status == 200, "the stream of one job has no snapshot of many"


@pytest.mark.parametrize(("settings", "key"), [({"public_url": "", "trusted_proxies": ""}, None), ({}, "ada")])
def test_lists_are_not_counted_where_there_is_no_limit(
    exposed: Exposing, settings: dict[str, object], key: str | None
) -> None:
    exposed(lists_per_minute=0 if key else 1, **settings)
    known = exposed.key(key) if key else None
    assert [exposed.ask("GET", "/jobs", known).status for _ in range(3)] == [200] * 3


def test_rate_limit_headers_name_the_policies(exposed: Exposing) -> None:
    exposed(submissions_per_minute=7)
    reply = exposed.submit(exposed.key("ada"))
    assert reply.headers["RateLimit-Policy"] == '"submissions-by-owner";q=7;w=60, "submissions-by-address";q=7;w=60'
    assert reply.headers["RateLimit"] == '"submissions-by-owner";r=6;t=60, "submissions-by-address";r=6;t=60'


def test_an_ipv6_client_is_its_network(exposed: Exposing) -> None:
    exposed(submissions_per_minute=2)
    keys = [exposed.key(name) for name in ("ada", "bob", "eve")]
    addresses = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2:1::"]
    assert [exposed.submit(key, address).status for key, address in zip(keys, addresses, strict=True)] == [
        202,
        202,
        429,
    ]
    assert exposed.submit(keys[2], "2001:db8:1:3::1").status == 202


@pytest.mark.parametrize("forwarded", ["garbage", "192.0.2.77, unknown", "'; DROP TABLE jobs; --", "," * 1000])
def test_with_a_malformed_forwarded_header_the_proxy_itself_is_counted(exposed: Exposing, forwarded: str) -> None:
    exposed(submissions_per_minute=1, insecure=True)
    assert exposed.submit(None, forwarded).status == 202
    assert_too_many(exposed.submit(None, "127.0.0.1"))


def test_a_forwarded_header_from_an_untrusted_peer_is_ignored(exposed: Exposing) -> None:
    exposed(submissions_per_minute=2, insecure=True, trusted_proxies="192.0.2.0/24")
    assert [exposed.submit(None, f"203.0.113.{number}").status for number in range(3)] == [202, 202, 429]


def test_clients_without_keys_on_an_exposed_server_are_rate_limited_by_address(exposed: Exposing) -> None:
    exposed(submissions_per_minute=2, insecure=True)
    replies = [exposed.submit(None) for _ in range(3)]
    assert [reply.status for reply in replies] == [202, 202, 429]
    assert set(limits(replies[2])) == {"submissions-by-address"}
    assert exposed.submit(None, THERE).status == 202


def test_there_is_no_rate_limit_without_a_key_on_loopback(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_SUBMISSIONS_PER_MINUTE": "1", "HEADWAY_MAX_QUEUED_PER_OWNER": "1"})
    for _ in range(5):
        reply = server.request("POST", f"/jobs/noop{LATER}", {})
        assert reply.status == 202
        assert "RateLimit" not in reply.headers
        assert "RateLimit-Policy" not in reply.headers


def test_a_key_is_rate_limited_on_loopback_too(exposed: Exposing) -> None:
    exposed(public_url="", trusted_proxies="", submissions_per_minute=1)
    key = exposed.key("ada")
    assert [exposed.submit(key).status for _ in range(2)] == [202, 429]
    assert exposed.submit(None).status == 202


def test_without_a_limit_nothing_is_counted(exposed: Exposing) -> None:
    exposed(submissions_per_minute=0)
    reply = exposed.submit(exposed.key("ada"))
    assert reply.status == 202
    assert "RateLimit" not in reply.headers


def test_every_way_to_submit_counts(exposed: Exposing) -> None:
    server = exposed(submissions_per_minute=8)
    key = exposed.key("ada")
    job_id = exposed.submit(key).json["jobId"]
    exposed.ask("DELETE", f"/jobs/{job_id}", key)
    headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": HERE, "Idempotency-Key": '"k"'}
    waiting = {"Authorization": f"Bearer {key}", "X-Forwarded-For": HERE, "Prefer": "wait=30"}
    replies = [
        exposed.ask("POST", "/jobs", key, body={"type": "noop", "input": {}}),
        exposed.ask("POST", f"/jobs/{job_id}/retry", key),
        exposed.submit(key, path="/jobs/noop?surprise=1"),
        exposed.submit(key, path="/jobs/nothing"),
        server.request("POST", "/jobs/noop", {}, headers),
        server.request("POST", "/jobs/noop", {}, headers),
        server.request("POST", "/jobs/noop", {}, waiting),
    ]
    assert [reply.status for reply in replies] == [202, 202, 422, 404, 202, 202, 200]
    assert [limits(reply)["submissions-by-owner"][0] for reply in replies] == [6, 5, 4, 3, 2, 1, 0]
    for path in ("/jobs", "/jobs/noop", f"/jobs/{job_id}/retry"):
        assert_too_many(exposed.submit(key, path=path))


def test_invalid_keys_are_rate_limited_by_address_and_valid_ones_always_admitted(exposed: Exposing) -> None:
    exposed(failed_sign_ins_per_minute=4)
    key = exposed.key("ada")
    wrong = [exposed.ask("GET", "/jobs", guess) for guess in (WRONG_KEY, "hwk_short", key[:-1])]
    wrong.append(exposed.ask("POST", "/session", None, body={"key": WRONG_KEY}))
    assert [reply.status for reply in wrong] == [401] * 4
    assert [limits(reply)["failed-sign-ins"][0] for reply in wrong] == [3, 2, 1, 0]
    assert_too_many(exposed.ask("GET", "/jobs", WRONG_KEY))
    assert_too_many(exposed.ask("POST", "/session", None, body={"key": WRONG_KEY}))
    assert exposed.ask("GET", "/jobs", key).status == 200
    assert exposed.ask("POST", "/session", None, body={"key": key}).status == 200
    assert exposed.submit(key).status == 202
    assert exposed.ask("GET", "/jobs", None).status == 401, "no key is no wrong key"
    assert exposed.ask("GET", "/jobs", WRONG_KEY, THERE).status == 401
    assert "RateLimit" not in exposed.ask("GET", "/jobs", key).headers


def test_the_limit_of_streams_per_owner_covers_all_addresses(exposed: Exposing) -> None:
    server = exposed(max_streams_per_owner=2)
    ada, also_ada, bob = exposed.key("ada"), exposed.key("laptop", "ada"), exposed.key("bob")
    path = f"/jobs/{exposed.submit(ada).json['jobId']}/progress"
    with ExitStack() as stack:

        def watch(key: str, where: str, address: str) -> RawStream:
            headers = (("Authorization", f"Bearer {key}"), ("X-Forwarded-For", address))
            return stack.enter_context(RawStream(server, where, headers=headers))

        streams = [watch(ada, path, HERE), watch(also_ada, "/jobs/progress", THERE)]
        assert [stream.status for stream in streams] == [200, 200]
        for where in (path, "/jobs/progress"):
            assert watch(ada, where, "192.0.2.9").status == 429
            assert_too_many(exposed.ask("GET", where, ada, "192.0.2.9"), "too-many-streams")
        assert watch(bob, "/jobs/progress", HERE).status == 200
        streams.pop().close()
        eventually(lambda: watch(ada, path, HERE).status == 200)


def test_an_owner_has_a_share_of_the_queue(exposed: Exposing) -> None:
    exposed(max_queued_per_owner=2)
    ada, bob = exposed.key("ada"), exposed.key("bob")
    job_id = exposed.submit(ada).json["jobId"]
    assert exposed.submit(ada).status == 202
    for path in (f"/jobs/noop{LATER}", "/jobs/noop"):
        assert_too_many(exposed.submit(ada, path=path))
    envelope = {"type": "noop", "input": {}}
    assert_too_many(exposed.ask("POST", "/jobs", ada, body=envelope))
    assert exposed.submit(bob).status == 202
    exposed.ask("DELETE", f"/jobs/{job_id}", ada)
    assert exposed.submit(ada).status == 202
    assert_too_many(exposed.ask("POST", f"/jobs/{job_id}/retry", ada))


def test_an_owner_whose_share_is_used_up_is_refused_before_the_body_is_sent(exposed: Exposing) -> None:
    server = exposed(max_queued_per_owner=1)
    ada = exposed.key("ada")
    exposed.submit(ada)
    headers = (*JSON, ("Content-Length", "100000"), ("Authorization", f"Bearer {ada}"), ("X-Forwarded-For", HERE))
    assert_too_many(send(server, "POST", "/jobs/noop", headers))


def test_the_limits_are_published(exposed: Exposing) -> None:
    exposed(
        submissions_per_minute=7,
        failed_sign_ins_per_minute=6,
        max_streams_per_owner=5,
        max_queued_per_owner=4,
        lists_per_minute=3,
    )
    published = exposed.ask("GET", "/openapi.json", exposed.key("ada")).json["x-limits"]
    names = ("submissionsPerMinute", "failedSignInsPerMinute", "maxStreamsPerOwner", "maxQueuedPerOwner")
    assert [published[name] for name in (*names, "listsPerMinute")] == [7, 6, 5, 4, 3]
