"""The audit trail over HTTP and on the command line: who did what, and what was refused."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import quote

from headway.web.identity.refusals import MOST_KINDS

from tests.support.keys import bearer, keys, make_key
from tests.support.process import RUN, ServerProcess, eventually, run_command
from tests.support.serving import LATER, TEST_JOBS, UNKNOWN, Serving

WRONG_KEY = "hwk_" + "w" * 43
EXPOSED = {"HEADWAY_PUBLIC_URL": "http://jobs.example.com", "HEADWAY_FAILED_SIGN_INS_PER_MINUTE": "10000"}
REQUEST = {"X-Request-ID": "request-1"}


def audit(data_dir: Path, *flags: str) -> list[dict[str, Any]]:
    read = run_command("audit", "--json", "--limit", "500", *flags, "--data-dir", str(data_dir))
    assert read.returncode == 0, read.stderr
    return [json.loads(line) for line in read.stdout.splitlines()]


def told(entry: dict[str, Any]) -> tuple[Any, ...]:
    return (entry["actor"], entry["actorOwner"], entry["action"], entry["subject"], entry["outcome"])


def test_the_trail_names_who_did_what_and_what_was_refused(serving: Serving, tmp_path: Path) -> None:
    ann, reader = make_key(tmp_path, "ann"), make_key(tmp_path, "reader", "--owner", "ann", "--read-only")
    server = serving(tmp_path, "--jobs", str(TEST_JOBS), env=EXPOSED | {"HEADWAY_AUDIT_DOWNLOADS": "true"})
    with_key = {**bearer(ann), **REQUEST}
    query = LATER + "&label=planted-label&webhookUrl=https%3A%2F%2Fexample.com%2Fplanted-hook"
    submitted = server.request("POST", "/jobs/noop" + query, {}, with_key)
    job_id = submitted.json["jobId"]
    for _ in range(2):  # the second time it changes nothing
        assert server.request("PATCH", f"/jobs/{job_id}", {"label": "planted-name"}, with_key).status == 200
    assert server.request("DELETE", f"/jobs/{job_id}", headers=with_key).status == 204
    retried = server.request("POST", f"/jobs/{job_id}/retry", headers=with_key).json["jobId"]
    assert server.request("DELETE", f"/jobs/{job_id}?purge=true", headers=with_key).status == 204
    writer = server.request("POST", "/jobs/writes-files", {"text": "planted text"}, with_key).json["jobId"]
    status = f"/jobs/{writer}?wait=30"
    file, *_ = server.request("GET", status, headers=with_key).json["files"]
    assert server.request("GET", f"/jobs/{writer}/files/{quote(file['name'])}", headers=with_key).status == 200
    assert server.request("POST", f"/jobs/{writer}/tickets", {}, with_key).status == 201
    signed_in = server.request("POST", "/session", {"key": ann}, REQUEST)
    (cookie,) = SimpleCookie(signed_in.headers["Set-Cookie"]).values()
    own_page = {"Cookie": f"{cookie.key}={cookie.value}", "Origin": EXPOSED["HEADWAY_PUBLIC_URL"]}
    assert server.request("DELETE", "/session", headers=own_page | REQUEST).status == 204
    _be_refused(server, with_key, bearer(reader))
    assert run_command("secrets", "show", "--owner", "ann", "--data-dir", str(tmp_path)).returncode == 0
    assert keys(tmp_path, "revoke", "reader").returncode == 0

    entries = audit(tmp_path)
    key, session = ("key", "ann"), ("session", "ann")
    nobody, operator = ("anonymous", None), ("operator", None)
    key_ids = {key["name"]: key["id"] for key in _keys(tmp_path)}
    assert [told(entry) for entry in entries] == [
        (*operator, "create-key", key_ids["ann"], "ok"),
        (*operator, "create-key", key_ids["reader"], "ok"),
        (*key, "submit", job_id, "ok"),
        (*key, "edit", job_id, "ok"),
        (*key, "cancel", job_id, "ok"),
        (*key, "retry", retried, "ok"),
        (*key, "delete", job_id, "ok"),
        (*key, "submit", writer, "ok"),
        (*key, "download", writer, "ok"),
        (*key, "make-ticket", writer, "ok"),
        (*session, "sign-in", None, "ok"),
        (*session, "sign-out", None, "ok"),
        (*nobody, "sign-in", None, "unauthorized"),
        (*nobody, "sign-in", None, "unauthorized"),
        (*nobody, "submit", None, "unauthorized"),
        (*key, "submit", None, "validation-failed"),
        (*key, "submit", None, "forbidden"),
        (*key, "cancel", UNKNOWN, "not-found"),
        (*key, "cancel", UNKNOWN, "forbidden"),
        (*key, "delete", UNKNOWN, "not-found"),
        (*key, "delete", UNKNOWN, "validation-failed"),
        (*operator, "show-secrets", None, "ok"),
        (*operator, "revoke-key", key_ids["reader"], "ok"),
    ]
    of_ann = entries[2]
    expected = {"address": "127.0.0.1", "requestId": "request-1", "keyId": key_ids["ann"], "jobType": "noop"}
    assert of_ann.items() >= (expected | {"owner": "ann", "times": 1}).items()
    assert [told(entry)[2] for entry in audit(tmp_path, "--action", "cancel")] == ["cancel"] * 3
    assert {entry["actor"] for entry in audit(tmp_path, "--actor", "operator", "--since", "1h")} == {"operator"}
    planted = ("planted", ann, reader, WRONG_KEY, cookie.value)
    assert not any(secret in json.dumps(entries) for secret in planted)
    assert not [secret for secret in planted if secret in trail_on_disk(tmp_path)]
    for shown in run_command("audit", "--data-dir", str(tmp_path)).stdout.splitlines():
        assert len(shown) <= 110, shown


def test_quotas_redeliveries_and_what_retention_deletes_are_in_the_trail(serving: Serving, tmp_path: Path) -> None:
    ann = make_key(tmp_path, "ann", "--quota", "jobs=5")
    (key_id,) = [key["id"] for key in _keys(tmp_path)]
    assert run_command("quota", "ann", "running=2,jobs=7", "--data-dir", str(tmp_path)).returncode == 0
    with_key = {**bearer(ann)}
    server = serving(tmp_path, "--jobs", str(TEST_JOBS), env=EXPOSED)
    assert run_command("quota", "ann", "default", "--data-dir", str(tmp_path)).returncode == 0
    assert keys(tmp_path, "quota", "ann", "none").returncode == 0
    query = f"{LATER}&webhookUrl=https%3A%2F%2Fexample.invalid%2Fplanted"
    job_id = server.request("POST", f"/jobs/noop{query}", {}, with_key).json["jobId"]
    assert server.request("DELETE", f"/jobs/{job_id}", headers=with_key).status == 204
    deliveries = f"/jobs/{job_id}/deliveries"
    (delivery,) = server.request("GET", deliveries, headers=with_key).json["deliveries"]
    redeliver = f"{deliveries}/{delivery['deliveryId']}/redeliver"
    eventually(lambda: server.request("POST", redeliver, headers=with_key).status == 202)
    ticket = server.request("POST", f"/jobs/{job_id}/tickets", {}, with_key).json["ticket"]
    gone = server.request("POST", "/jobs/noop?retainSeconds=0", {"planted": 1}, with_key)
    assert gone.status == 422
    gone_id = server.request("POST", "/jobs/says?retainSeconds=0", {"text": "planted"}, with_key).json["jobId"]
    eventually(lambda: audit(tmp_path, "--action", "expire"))
    secret = run_command("secrets", "show", "--owner", "ann", "--data-dir", str(tmp_path)).stdout.split()[-1]

    done = [entry for entry in audit(tmp_path) if entry["outcome"] == "ok"]
    quotas = [entry for entry in done if entry["action"] in ("create-key", "set-quota")]
    assert {entry["actor"] for entry in quotas} == {"operator"}
    assert [(entry["owner"], entry["subject"], entry["detail"]) for entry in quotas] == [
        ("ann", key_id, "jobs=5"),
        ("ann", None, "default -> jobs=7,running=2"),
        ("ann", None, "jobs=7,running=2 -> default"),
        ("ann", key_id, "jobs=5 -> none"),
    ]
    shown = run_command("audit", "--action", "set-quota", "--data-dir", str(tmp_path)).stdout
    assert "set-quota of ann default -> jobs=7,running=2\n" in shown
    assert ("key", "ann", "redeliver", job_id, "ok") in map(told, done)
    assert ("server", None, "expire", gone_id, "ok") in map(told, done)
    planted = ("planted", ann, ticket, secret)
    assert not [each for each in planted if each in trail_on_disk(tmp_path)]


def trail_on_disk(data_dir: Path) -> str:
    """Every value of the table, whether or not a command shows it."""
    with closing(sqlite3.connect(f"file:{data_dir / 'headway.db'}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT * FROM audit").fetchall()
    assert rows
    return repr(rows)


def _be_refused(server: ServerProcess, ann: Mapping[str, str], reader: Mapping[str, str]) -> None:
    """Send what is not allowed, or not valid."""
    refused: list[tuple[str, str, Any, Any, int]] = [
        ("POST", "/session", {"key": WRONG_KEY}, {}, 401),
        ("GET", "/jobs", None, bearer(WRONG_KEY), 401),
        ("POST", "/jobs/noop", {"planted": "input"}, {}, 401),
        ("POST", "/jobs/noop", {"planted": "input"}, ann, 422),
        ("POST", "/jobs/noop", {}, reader, 403),
        ("DELETE", f"/jobs/{UNKNOWN}", None, ann, 404),
        ("DELETE", f"/jobs/{UNKNOWN}?purge=false", None, reader, 403),
        ("DELETE", f"/jobs/{UNKNOWN}?purge=true", None, ann, 404),
        ("DELETE", f"/jobs/{UNKNOWN}?purge=perhaps", None, ann, 422),
    ]
    for method, path, body, headers, expected_status in refused:
        assert server.request(method, path, body, dict(headers)).status == expected_status


def _keys(data_dir: Path) -> list[dict[str, str]]:
    """Names and ids of the keys, as the list prints them."""
    head, *rows = keys(data_dir, "list").stdout.splitlines()
    assert head.split()[:2] == ["NAME", "ID"]
    return [dict(zip(("name", "id"), row.split(), strict=False)) for row in rows]


def test_a_flood_of_refused_requests_leaves_a_few_entries(serving: Serving, tmp_path: Path) -> None:
    make_key(tmp_path, "ann")
    server = serving(tmp_path, env=EXPOSED)
    for _ in range(40):
        assert server.request("POST", "/session", {"key": WRONG_KEY}).status == 401
    assert server.stop() == 0  # which writes what has been counted
    refused = audit(tmp_path, "--action", "sign-in")
    assert sum(entry["times"] for entry in refused) == 40
    assert len(refused) <= 8  # a minute may end in between


def test_one_owners_refused_requests_hide_no_entry_of_another(serving: Serving, tmp_path: Path) -> None:
    ann, bob = make_key(tmp_path, "ann"), make_key(tmp_path, "bob")
    server = serving(tmp_path, env=EXPOSED)

    def is_refused(key: str, address: str) -> None:
        with closing(HTTPConnection("127.0.0.1", server.port, source_address=(address, 0))) as connection:
            connection.request("DELETE", f"/jobs/{UNKNOWN}", headers=dict(bearer(key)))
            assert connection.getresponse().status == 404

    for host in range(1, MOST_KINDS + 5):
        is_refused(ann, f"127.0.2.{host}")
    is_refused(bob, "127.0.3.1")
    assert server.stop() == 0
    entries = audit(tmp_path, "--action", "cancel")
    assert ("bob", "127.0.3.1") in [(entry["actorOwner"], entry["address"]) for entry in entries]
    assert ("ann", None) in [(entry["actorOwner"], entry["address"]) for entry in entries]
    assert sum(entry["times"] for entry in entries) == MOST_KINDS + 5


def test_every_acknowledged_change_has_its_entry_after_kill_9(serving: Serving, tmp_path: Path) -> None:
    server, done = serving(tmp_path), Counter[str]()
    for _ in range(3):
        for _ in range(7):
            job_id = server.submit("noop", query=LATER)
            assert server.request("DELETE", f"/jobs/{job_id}").status == 204
            done.update(f"{action} {job_id}" for action in ("submit", "cancel"))
        server.kill()
        server.restart()
    assert Counter(f"{entry['action']} {entry['subject']}" for entry in audit(tmp_path)) == done
    assert {entry["actor"] for entry in audit(tmp_path)} == {"local"}


def test_follow_prints_what_is_added_over_a_restart_until_ctrl_c(serving: Serving, tmp_path: Path) -> None:
    server: ServerProcess = serving(tmp_path)
    first = server.submit("noop", query=LATER)
    command = [sys.executable, str(RUN), "audit", "--follow", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as following:
        assert following.stdout is not None
        assert b"(UTC)" in following.stdout.readline()
        assert first.encode() in following.stdout.readline()
        second = server.submit("noop", query=LATER)
        line = following.stdout.readline().decode()
        assert ("local", "127.0.0.1", f"submit noop {second}\n") == (line.split()[1], line.split()[2], line[45:])
        server.kill()
        server.restart()
        third = server.submit("noop", query=LATER)
        assert third.encode() in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert (following.wait(30), following.stderr and following.stderr.read()) == (0, b"")
