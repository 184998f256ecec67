"""Webhooks from real servers to a real receiver, verified with the reference library of Standard Webhooks."""

import importlib.metadata
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.support.client_table import assert_in_the_table
from tests.support.metrics import metric
from tests.support.process import ServerProcess, eventually, multipart, run_command
from tests.support.receiver import Received, Receiver, answering, bombing, flooding, hanging
from tests.support.record import snapshot
from tests.support.representation import INSTANT, assert_representation
from tests.support.serving import Serving

ALLOW = {"HEADWAY_WEBHOOK_ALLOW": "127.0.0.0/8"}
ALL_EVENTS = ["job.started", "job.progress", "job.completed", "job.failed", "job.cancelled"]
SOON_S = 5.0
"""Within this time an undelayed delivery arrives, even on a busy machine; a hanging one takes three times as long."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


other = receiver
"""A second one."""


def run(data_dir: Path, *arguments: str) -> str:
    """What an operator's command prints."""
    done = run_command(*arguments, "--data-dir", str(data_dir))
    assert done.returncode == 0, done.stderr
    return done.stdout


def submit(server: ServerProcess, job_type: str, url: str, input: Any = None, **options: Any) -> str:
    envelope = {"type": job_type, "input": input or {}, "webhookUrl": url, **options}
    reply = server.request("POST", "/jobs", envelope)
    assert reply.status == 202, reply.body
    return str(reply.json["jobId"])


def deliveries(server: ServerProcess, job_id: str) -> list[Any]:
    reply = server.request("GET", f"/jobs/{job_id}/deliveries")
    assert reply.status == 200, reply.body
    found: list[Any] = reply.json["deliveries"]
    return found


def settled(server: ServerProcess, job_id: str, event: str, status: str) -> Any:
    """The job's delivery of an event, once it has this state."""

    def look() -> Any:
        found = [each for each in deliveries(server, job_id) if (each["event"], each["status"]) == (event, status)]
        return found[0] if found else None

    return eventually(look, f"no delivery of {event} was {status}")


def attempted(server: ServerProcess, job_id: str, times: int = 1) -> Any:
    """The job's newest delivery, once so many attempts of it have come to something."""

    def look() -> Any:
        newest = next(iter(deliveries(server, job_id)), None)
        ended = newest is not None and newest["attempts"] >= times and (newest["lastStatus"] or newest["lastError"])
        return newest if ended else None

    return eventually(look, "nothing was attempted")


def secrets(data_dir: Path, *arguments: str) -> list[str]:
    """What `run.py secrets` prints: the secrets, the current one first."""
    return re.findall(r"whsec_\S+", run(data_dir, "secrets", *arguments))


def verified(request: Received, secret: str) -> Any:
    """The payload, if the reference library finds it genuine. Raises `WebhookVerificationError`."""
    return Webhook(secret).verify(request.body, dict(request.headers))


# What is told


def test_the_reference_library_verifies_every_delivery(serving: Serving, receiver: Receiver, tmp_path: Path) -> None:
    server = serving(tmp_path, env=ALLOW)
    job_id = submit(server, "steps-async", receiver.url("/hook?token=1"), {"steps": 3})
    failed = submit(server, "fails", receiver.url(), {"text": "no"})
    queued = submit(server, "noop", receiver.url(), runAt="2099-01-01T00:00:00Z")
    assert server.request("DELETE", f"/jobs/{queued}").status == 204
    came = receiver.wait_for(5)
    (secret,) = secrets(tmp_path, "show")
    told = [verified(request, secret) for request in came]
    assert sorted((body["data"]["jobId"], body["type"]) for body in told) == sorted(
        [
            *((job_id, "job.started"), (job_id, "job.completed"), (failed, "job.started"), (failed, "job.failed")),
            (queued, "job.cancelled"),
        ]
    )
    for request, body in zip(came, told, strict=True):
        assert body.keys() == {"type", "timestamp", "data"}
        assert INSTANT.fullmatch(body["timestamp"])
        assert_representation(body["data"])
        assert request.headers["content-type"] == "application/json"
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_" + "A" * 44).verify(request.body, dict(request.headers))
    assert len({request.id for request in came}) == 5
    assert_in_the_table("standardwebhooks", importlib.metadata.version("standardwebhooks"))


@pytest.mark.parametrize("way", ["query", "envelope", "form"])
def test_url_and_events_can_be_given_in_every_kind_of_submission(
    serving: Serving, receiver: Receiver, way: str
) -> None:
    server = serving(env=ALLOW)
    url, events = receiver.url(), ["job.completed", "job.progress"]
    if way == "query":
        reply = server.request("POST", f"/jobs/noop?webhookUrl={url}&webhookEvents={','.join(events)}", {})
    elif way == "envelope":
        reply = server.request("POST", "/jobs", {"type": "noop", "webhookUrl": url, "webhookEvents": events})
    else:
        body, content_type = multipart({})
        texts = {"type": "noop", "webhookUrl": url, "webhookEvents": ",".join(events)}
        boundary = content_type.partition("boundary=")[2]
        parts = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in texts.items()
        )
        reply = server.request("POST", "/jobs", parts.encode() + body, {"Content-Type": content_type})
    assert reply.status == 202, reply.body
    settled(server, reply.json["jobId"], "job.completed", "delivered")
    assert [request.event for request in receiver.received] == ["job.completed"]


def test_an_idempotency_key_covers_the_webhook(serving: Serving, receiver: Receiver) -> None:
    server = serving(env=ALLOW)
    key = {"Idempotency-Key": '"k"'}
    events = ["job.failed", "job.completed"]
    envelope = {"type": "noop", "webhookUrl": receiver.url(), "webhookEvents": events}
    first = server.request("POST", "/jobs", envelope, key)
    again = server.request("POST", "/jobs", envelope | {"webhookEvents": events[::-1]}, key)
    assert (first.status, again.status, again.headers["Idempotency-Replayed"]) == (202, 202, "true")
    for other in ({"webhookUrl": receiver.url("/other")}, {"webhookEvents": ["job.failed"]}):
        assert server.request("POST", "/jobs", envelope | other, key).status == 422
    receiver.wait_for(1)
    assert {request.job_id for request in receiver.received} == {first.json["jobId"]}


def test_a_retried_job_notifies_the_same_receiver(serving: Serving, receiver: Receiver) -> None:
    server = serving(env=ALLOW)
    failed = submit(server, "fails", receiver.url(), {"text": "no"}, webhookEvents=["job.failed"])
    receiver.wait_for(1)
    repetition = server.request("POST", f"/jobs/{failed}/retry").json["jobId"]
    receiver.wait_for(1, job_id=repetition, event="job.failed")


def test_a_job_type_can_have_a_webhook_of_its_own(serving: Serving, receiver: Receiver, tmp_path: Path) -> None:
    module = tmp_path / "hooked_jobs.py"
    url = receiver.url("/of-the-type")
    module.write_text(
        "from headway import Context, job\n\n\n"
        f"@job('hooked', webhook_url={url!r})\nasync def hooked(ctx: Context) -> None:\n    pass\n"
    )
    server = serving(tmp_path / "data", "--jobs", str(module), env=ALLOW)
    server.submit("hooked", query="?webhookEvents=job.completed")
    receiver.wait_for(1, path="/of-the-type", event="job.completed")
    submit(server, "hooked", receiver.url("/of-the-job"), webhookEvents=["job.started"])
    receiver.wait_for(1, path="/of-the-job")
    assert len(receiver.received) == 2
    server.stop()
    refused = run_command("--data-dir", str(tmp_path / "data"), "--jobs", str(module))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert f"{module}:4: hooked: webhook_url: The URL's address is loopback" in refused.stderr


def test_progress_comes_at_most_every_ten_seconds(serving: Serving, receiver: Receiver) -> None:
    server = serving(env=ALLOW)
    job_id = submit(server, "steps-async", receiver.url(), {"steps": 140, "step_s": 0.1}, webhookEvents=ALL_EVENTS)
    receiver.wait_for(1, event="job.completed")
    told = [request for request in receiver.received if request.event == "job.progress"]
    assert len(told) == 2
    assert told[1].at_s - told[0].at_s >= 9.9
    versions = [request.json["data"]["version"] for request in told]
    assert versions == sorted(set(versions))
    assert [each["event"] for each in deliveries(server, job_id)] == ["job.completed", "job.started"]


# Tried again


def test_a_retry_and_a_redelivery_keep_the_id(serving: Serving, receiver: Receiver, tmp_path: Path) -> None:
    server = serving(tmp_path, env=ALLOW)
    receiver.behaviours["/hook"] = answering(500, 204)
    job_id = submit(server, "noop", receiver.url(), webhookEvents=["job.completed"])
    failed = attempted(server, job_id)
    assert (failed["status"], failed["lastStatus"], failed["attempts"]) == ("pending", 500, 1)
    assert failed["lastError"] == "The receiver answered 500."
    delivered = settled(server, job_id, "job.completed", "delivered")
    first, second = receiver.wait_for(2)
    assert 5.0 <= second.at_s - first.at_s < 5.0 + SOON_S
    assert delivered["attempts"] == 2
    assert (delivered["lastStatus"], delivered["lastError"], delivered["nextAttemptAt"]) == (204, None, None)
    again = server.request("POST", f"/jobs/{job_id}/deliveries/{delivered['deliveryId']}/redeliver")
    assert (again.status, again.json["status"], again.json["deliveryId"]) == (202, "pending", delivered["deliveryId"])
    *_, third = receiver.wait_for(3)
    assert {request.id for request in (first, second, third)} == {delivered["deliveryId"]}
    assert first.body == second.body == third.body
    assert int(third.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    (secret,) = secrets(tmp_path, "show")
    for request in (first, second, third):
        assert verified(request, secret)["data"]["jobId"] == job_id


def test_retry_after_of_a_receiver_is_respected(serving: Serving, receiver: Receiver) -> None:
    server = serving(env=ALLOW)
    receiver.behaviours["/busy"] = answering(429, headers={"Retry-After": "3600"})
    job_id = submit(server, "noop", receiver.url("/busy"), webhookEvents=["job.completed"])
    waiting = attempted(server, job_id)
    assert waiting["lastStatus"] == 429
    asked, again = (time.strptime(waiting[key][:19], "%Y-%m-%dT%H:%M:%S") for key in ("lastAttemptAt", "nextAttemptAt"))
    assert 3_595 < time.mktime(again) - time.mktime(asked) < 3_700


def test_a_redirect_is_no_success_and_is_not_followed(serving: Serving, receiver: Receiver) -> None:
    server = serving(env=ALLOW)
    receiver.behaviours["/moved"] = answering(307, headers={"Location": receiver.url("/elsewhere")})
    job_id = submit(server, "noop", receiver.url("/moved"), webhookEvents=["job.completed"])
    assert attempted(server, job_id)["lastStatus"] == 307
    assert {request.path for request in receiver.received} == {"/moved"}


# Receivers that do harm, or want no more


@pytest.mark.parametrize(
    ("behaviour", "status"), [(flooding, "delivered"), (bombing, "delivered"), (hanging, "pending")]
)
def test_a_slow_receiver_delays_no_other_and_no_job(
    serving: Serving, receiver: Receiver, other: Receiver, behaviour: Any, status: str
) -> None:
    server = serving(env=ALLOW)
    receiver.behaviours["/bad"] = behaviour
    resident_bytes = metric(server, "process_resident_memory_bytes")
    before = resident_bytes()
    bad = [submit(server, "noop", receiver.url("/bad"), webhookEvents=["job.completed"]) for _ in range(20)]
    receiver.wait_for(1, path="/bad")
    for _ in range(3):
        began_s = time.monotonic()
        good = submit(server, "noop", other.url(), webhookEvents=["job.completed"])
        other.wait_for(1, job_id=good)
        assert time.monotonic() - began_s < SOON_S
    if behaviour is hanging:
        assert len(receiver.received) <= 4
        unanswered = attempted(server, receiver.wait_for(1, path="/bad")[0].job_id)
        assert unanswered["lastError"] == "There was no answer within 15 s."
    else:
        settled(server, bad[0], "job.completed", status)
    assert resident_bytes() - before < 30_000_000


def test_after_a_410_only_later_jobs_send_to_that_url(serving: Serving, receiver: Receiver) -> None:
    server = serving(env=ALLOW)
    receiver.behaviours["/gone"] = answering(500, 410, 204)
    before = submit(server, "noop", receiver.url("/gone"), webhookEvents=["job.completed"])
    attempted(server, before)
    long = submit(server, "steps-async", receiver.url("/gone"), {"steps": 20, "step_s": 0.1})
    ended = settled(server, before, "job.completed", "failed")
    assert ended["lastError"] == "The receiver answered 410 to another delivery."
    assert settled(server, long, "job.started", "failed")["lastStatus"] == 410
    server.wait_for(long)
    assert [each["event"] for each in deliveries(server, long)] == ["job.started"]
    assert len(receiver.received) == 2
    later = submit(server, "noop", receiver.url("/gone"), webhookEvents=["job.completed"])
    settled(server, later, "job.completed", "delivered")
    server.request("POST", f"/jobs/{before}/deliveries/{ended['deliveryId']}/redeliver")
    settled(server, before, "job.completed", "delivered")


# What must not be lost


def test_a_kill_between_an_end_and_its_delivery_loses_nothing(
    serving: Serving, receiver: Receiver, tmp_path: Path
) -> None:
    server = serving(tmp_path, env=ALLOW)
    receiver.behaviours["/down"] = answering(503)
    jobs = [submit(server, "noop", receiver.url("/down"), webhookEvents=["job.completed"]) for _ in range(10)]
    for job_id in jobs:
        server.wait_for(job_id)
    server.kill()
    receiver.behaviours["/down"] = answering(204)
    sent = len(receiver.received)
    server.restart()
    for job_id in jobs:
        settled(server, job_id, "job.completed", "delivered")
    assert {request.job_id for request in receiver.received[sent:]} == set(jobs)


def test_a_kill_at_any_moment_leaves_a_delivery_for_each_change_and_no_other(serving: Serving, tmp_path: Path) -> None:
    """Nobody takes them, so that all of them are still there; history and outbox are read with SQLite alone."""
    server = serving(tmp_path, env=ALLOW)
    chance = random.Random(7)
    changes = 0
    for _ in range(6):
        for job_type in ("noop", "steps-async", "third-time") * 4:
            job_id = submit(server, job_type, "http://127.0.0.1:9/")
            if chance.random() < 0.2:
                server.request("DELETE", f"/jobs/{job_id}")
        time.sleep(chance.random() / 5)
        server.kill()
        with snapshot(tmp_path) as connection:
            states = connection.execute("SELECT job_id, level FROM history WHERE kind = 'state' AND level <> 'queued'")
            happened = Counter((job_id, f"job.{state.replace('running', 'started')}") for job_id, state in states)
            told = Counter(connection.execute("SELECT job_id, event FROM deliveries").fetchall())
        assert told == happened
        assert sum(told.values()) > changes
        changes = sum(told.values())
        server.restart()


def test_a_delivery_interrupted_by_a_kill_is_sent_again_at_once(
    serving: Serving, receiver: Receiver, tmp_path: Path
) -> None:
    server = serving(tmp_path, env=ALLOW)
    receiver.behaviours["/slow"] = hanging
    job_id = submit(server, "noop", receiver.url("/slow"), webhookEvents=["job.completed"])
    (first,) = receiver.wait_for(1)
    server.kill()
    receiver.behaviours["/slow"] = answering(204)
    server.restart()
    began_s = time.monotonic()
    _, second = receiver.wait_for(2)
    assert time.monotonic() - began_s < SOON_S
    assert (second.id, second.body) == (first.id, first.body)
    assert settled(server, job_id, "job.completed", "delivered")["attempts"] == 2


def test_deliveries_interrupted_by_a_shutdown_are_sent_after_the_restart(
    serving: Serving, receiver: Receiver, tmp_path: Path
) -> None:
    server = serving(tmp_path, env={**ALLOW, "HEADWAY_SHUTDOWN_GRACE_S": "0.5"})
    receiver.behaviours["/slow"] = hanging
    submit(server, "noop", receiver.url("/slow"), webhookEvents=["job.completed"])
    receiver.wait_for(1)
    began_s = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began_s < 10
    receiver.behaviours["/slow"] = answering(204)
    server.restart()
    first, second = receiver.wait_for(2, timeout_s=SOON_S)
    assert second.id == first.id


@pytest.mark.parametrize("when", ["before the attempt", "during it", "between two"])
def test_a_purge_does_not_stop_the_delivery(serving: Serving, receiver: Receiver, when: str) -> None:
    server = serving(env=ALLOW)
    if when == "before the attempt":
        job_id = submit(server, "noop", receiver.url(), runAt="2099-01-01T00:00:00Z")
    else:
        receiver.behaviours["/hook"] = answering(500, 204)
        job_id = submit(server, "noop", receiver.url(), webhookEvents=["job.completed"])
        server.wait_for(job_id)
        if when == "between two":
            attempted(server, job_id)
    assert server.request("DELETE", f"/jobs/{job_id}?purge=true").status == 204
    assert server.request("GET", f"/jobs/{job_id}/deliveries").status == 404
    came = receiver.wait_for(1 if when == "before the attempt" else 2)
    assert came[-1].event == ("job.cancelled" if when == "before the attempt" else "job.completed")
    assert {request.job_id for request in came} == {job_id}


# Secrets


@pytest.mark.parametrize("live", [True, False], ids=["beside a server", "without one"])
def test_during_a_rotation_old_and_new_secret_verify(
    serving: Serving, receiver: Receiver, tmp_path: Path, live: bool
) -> None:
    server = serving(tmp_path, env=ALLOW)
    (old,) = secrets(tmp_path, "show")
    if not live:
        server.stop()
    new, kept = secrets(tmp_path, "rotate", "--overlap", "1h")
    assert kept == old != new
    assert secrets(tmp_path, "show", "--owner", "local") == [new, old]
    assert secrets(tmp_path, "show", "--owner", "somebody-else") not in ([new], [old])
    if not live:
        server.restart()
    job_id = submit(server, "noop", receiver.url(), webhookEvents=["job.completed"])
    (request,) = receiver.wait_for(1)
    assert verified(request, old) == verified(request, new)
    assert secrets(tmp_path, "rotate", "--overlap", "0s")[1:] == []
    delivery = settled(server, job_id, "job.completed", "delivered")
    server.request("POST", f"/jobs/{job_id}/deliveries/{delivery['deliveryId']}/redeliver")
    _, request = receiver.wait_for(2)
    for secret in (old, new):
        with pytest.raises(WebhookVerificationError):
            verified(request, secret)
    (current,) = secrets(tmp_path, "show")
    verified(request, current)
    assert not [secret for secret in (old, new, current) if secret in server.log()]


@pytest.mark.parametrize(
    "wrong", [("show", "--owner", "a b"), ("rotate", "--overlap", "soon"), ("rotate", "--overlap", "9999d")]
)
def test_an_invalid_secrets_command_is_a_one_line_error(
    serving: Serving, tmp_path: Path, wrong: tuple[str, ...]
) -> None:
    serving(tmp_path)
    done = run_command("secrets", *wrong, "--data-dir", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_each_owner_has_their_own_secrets_and_deliveries(serving: Serving, receiver: Receiver, tmp_path: Path) -> None:
    server = serving(tmp_path, env=ALLOW)
    alice, admin = (
        {"Authorization": f"Bearer {run(tmp_path, 'keys', 'create', name, *more).strip()}"}
        for name, more in (("alice", ()), ("root", ("--admin",)))
    )
    envelope = {"type": "noop", "webhookUrl": receiver.url(), "webhookEvents": ["job.completed"]}
    job_id = server.request("POST", "/jobs", envelope, alice).json["jobId"]
    (request,) = receiver.wait_for(1)
    verified(request, *secrets(tmp_path, "show", "--owner", "alice"))
    with pytest.raises(WebhookVerificationError):
        verified(request, *secrets(tmp_path, "show"))
    listed = f"/jobs/{job_id}/deliveries"
    again = f"{listed}/{request.id}/redeliver"
    for headers, statuses in (({}, (404, 404)), (alice, (200, 202)), (admin, (200, 202))):
        found = server.request("GET", listed, headers=headers), server.request("POST", again, headers=headers)
        assert tuple(reply.status for reply in found) == statuses
    ticket = server.request("POST", f"/jobs/{job_id}/tickets", {}, alice).json["ticket"]
    assert server.request("GET", f"/jobs/{job_id}?ticket={ticket}").status == 200
    assert server.request("GET", f"{listed}?ticket={ticket}").status != 200, "the URL may hold a secret"


# What an operator sees


def test_attempts_are_counted_and_logged_without_the_url(serving: Serving, receiver: Receiver) -> None:
    server = serving(env=ALLOW)
    receiver.behaviours["/secret-path"] = answering(204, 500, 410)
    for times, outcome in enumerate(("delivered", "retry", "failed"), 1):
        submit(server, "noop", receiver.url("/secret-path?token=1"), webhookEvents=["job.completed"])
        counted = metric(server, "headway_delivery_attempts_total", outcome=outcome)
        eventually(lambda counted=counted: counted() == 1, f"attempt {times} was not counted")
    eventually(lambda: metric(server, "headway_deliveries_pending")() == 0, "what a 410 ended is still pending")
    host = f"127.0.0.1:{receiver.port}"
    lines = [line for line in server.log().splitlines() if host in line]
    assert len(lines) == 3
    assert not re.search("secret-path|token", server.log())
