"""What owners do for their webhooks by themselves: their secret, a test, and the deliveries for all of their jobs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.support.process import ServerProcess, eventually, run_command
from tests.support.receiver import Received, Receiver, answering
from tests.support.serving import Serving

ALLOW = {"HEADWAY_WEBHOOK_ALLOW": "127.0.0.0/8", "HEADWAY_PUBLIC_URL": "http://headway.example"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


def run(data_dir: Path, *arguments: str) -> str:
    done = run_command(*arguments, "--data-dir", str(data_dir))
    assert done.returncode == 0, done.stderr
    return done.stdout


def key(data_dir: Path, name: str, *options: str) -> dict[str, str]:
    """The header that a client with a new key sends."""
    (text,) = re.findall(r"hwk_[\w-]+", run(data_dir, "keys", "create", name, "--owner", name, *options))
    return {"Authorization": f"Bearer {text}", "Host": "headway.example"}


def post(server: ServerProcess, path: str, headers: dict[str, str], body: Any = None) -> Any:
    reply = server.request("POST", path, body, headers)
    return reply.status, reply.json


def verifies(request: Received, secret: str) -> bool:
    try:
        Webhook(secret).verify(request.body, dict(request.headers))
    except WebhookVerificationError:
        return False
    return True


def test_a_secret_is_read_once_rotated_and_signs(serving: Serving, receiver: Receiver, tmp_path: Path) -> None:
    ann = key(tmp_path, "ann")
    server = serving(tmp_path, env=ALLOW)
    status, first = post(server, "/webhooks/secret/reveal", ann)
    assert (status, first["expiresAt"]) == (200, None)
    again = server.request("POST", "/webhooks/secret/reveal", None, ann)
    assert (again.status, again.json["type"]) == (410, "/problems/gone")
    status, second = post(server, "/webhooks/secret/rotate", ann, {"overlapSeconds": 3600})
    assert status == 201
    assert post(server, "/webhooks/secret/reveal", ann)[0] == 410, "a rotation gives the secret out"
    listed = server.request("GET", "/webhooks/secret", headers=ann)
    assert listed.headers["Cache-Control"] == "no-store"
    assert [each["fingerprint"] for each in listed.json["secrets"]] == [second["fingerprint"], first["fingerprint"]]
    assert b"whsec_" not in listed.body
    post(server, "/webhooks/test", ann, {"url": receiver.url()})
    assert all(verifies(receiver.received[-1], secret["secret"]) for secret in (first, second))
    third = post(server, "/webhooks/secret/rotate", ann, {"overlapSeconds": 0})[1]
    post(server, "/webhooks/test", ann, {"url": receiver.url()})
    signed = [verifies(receiver.received[-1], secret["secret"]) for secret in (first, second, third)]
    assert signed == [False, False, True]
    assert run(tmp_path, "secrets", "show", "--owner", "ann").strip() == third["secret"]


def test_what_may_not_be_done_to_secrets(serving: Serving, tmp_path: Path) -> None:
    ann, reader, bob = key(tmp_path, "ann"), key(tmp_path, "reader", "--read-only"), key(tmp_path, "bob")
    server = serving(tmp_path, env=ALLOW)
    for path in ("/webhooks/secret/reveal", "/webhooks/secret/rotate", "/webhooks/test"):
        assert post(server, path, reader)[0] == 403, path
        assert post(server, path, {"Host": "headway.example"})[0] == 401, path
    assert post(server, "/webhooks/secret/rotate", ann, {"overlapSeconds": 8 * 86_400})[0] == 422
    for _ in range(5):
        assert post(server, "/webhooks/secret/rotate", ann)[0] == 201
    status, problem = post(server, "/webhooks/secret/rotate", ann)
    assert (status, problem["type"]) == (409, "/problems/too-many-secrets")
    assert post(server, "/webhooks/secret/rotate", bob)[0] == 201, "another owner has room"
    told = run(tmp_path, "audit", "--owner", "ann")
    assert "show-secrets" not in told
    assert told.count("rotate-secret") == 5
    assert "whsec_" not in told


def test_a_test_says_what_came_of_it(serving: Serving, receiver: Receiver, tmp_path: Path) -> None:
    ann = key(tmp_path, "ann")
    server = serving(tmp_path, env=ALLOW)
    receiver.behaviours["/no"] = answering(500)
    status, good = post(server, "/webhooks/test", ann, {"url": receiver.url("/hook?token=1")})
    assert (status, good["delivered"], good["status"], good["error"]) == (200, True, 204, None)
    (request,) = receiver.received
    assert (request.event, request.path, request.id) == ("webhook.test", "/hook", good["deliveryId"])
    status, bad = post(server, "/webhooks/test", ann, {"url": receiver.url("/no")})
    assert (status, bad["delivered"], bad["status"]) == (200, False, 500)
    assert bad["error"] == "The receiver answered 500."
    status, silent = post(server, "/webhooks/test", ann, {"url": "http://127.0.0.1:9/"})
    assert (status, silent["delivered"], silent["status"]) == (200, False, None)
    assert "could not be connected to" in silent["error"]
    for url, word in (("http://10.0.0.1/", "public"), ("ftp://example.com/", "http"), ("nonsense", "http")):
        status, refused = post(server, "/webhooks/test", ann, {"url": url})
        assert (status, refused["errors"][0]["pointer"]) == (422, "/url"), refused
        assert word in refused["errors"][0]["detail"]
    assert len(receiver.received) == 2, "nothing is tried again"
    assert "test-webhook" in run(tmp_path, "audit", "--owner", "ann")
    assert "token=1" not in server.log()


def test_the_deliveries_for_all_jobs_are_listed_filtered_and_paged(
    serving: Serving, receiver: Receiver, tmp_path: Path
) -> None:
    ann, bob, admin = key(tmp_path, "ann"), key(tmp_path, "bob"), key(tmp_path, "root", "--admin")
    server = serving(tmp_path, env=ALLOW)
    jobs = [post(server, f"/jobs/noop?webhookUrl={receiver.url()}", ann, {})[1]["jobId"] for _ in range(3)]
    post(server, f"/jobs/noop?webhookUrl={receiver.url()}", bob, {})

    def listed(query: str, headers: dict[str, str] = ann) -> Any:
        reply = server.request("GET", f"/webhooks/deliveries{query}", headers=headers)
        assert reply.status == 200, reply.body
        return reply

    eventually(lambda: len(listed("?status=delivered", admin).json["deliveries"]) == 8)
    mine = listed("").json["deliveries"]
    assert [each["deliveryId"] for each in mine] == sorted((each["deliveryId"] for each in mine), reverse=True)
    assert {each["jobId"] for each in mine} == set(jobs)
    assert len(listed("?event=job.completed").json["deliveries"]) == 3
    assert len(listed(f"?host=127.0.0.1:{receiver.port}&status=delivered,failed").json["deliveries"]) == 6
    assert listed("?host=example.com").json == {"deliveries": [], "nextCursor": None}
    first = listed("?limit=4")
    second = listed(f"?limit=4&cursor={first.json['nextCursor']}")
    assert first.json["deliveries"] + second.json["deliveries"] == mine
    assert f"cursor={first.json['nextCursor']}" in first.headers["Link"]
    assert second.json["nextCursor"] is None
    for query in ("?cursor=x", "?status=lost", "?surprise=1", "?limit=0"):
        assert server.request("GET", f"/webhooks/deliveries{query}", headers=ann).status == 422, query
