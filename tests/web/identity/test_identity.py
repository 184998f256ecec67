"""Keys, sessions and tickets: authentication and authorization."""

import contextlib
import http.client
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path

import pytest

from tests.support.keys import bearer, keys, make_key
from tests.support.process import WAIT_TIMEOUT_S, Reply, ServerProcess, eventually, run_command
from tests.support.serving import TEST_JOBS, Serving

UNKNOWN_KEY = "hwk_" + "a" * 43
UNKNOWN_SESSION = "hws_" + "a" * 43
LONG = {"steps": 100_000, "step_s": 0.05}


@dataclass
class Guarded:
    """A server that says that others can reach it, and Ann's key."""

    server: ServerProcess
    data_dir: Path
    ann: str

    def ask(self, method: str, path: str, body: object = None, *, key: str | None = None, **headers: str) -> Reply:
        sent = dict(bearer(key) if key else {}) | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.server.request(method, path, body, sent)

    def submit(self, job_type: str = "noop", input: object = None) -> str:
        reply = self.ask("POST", f"/jobs/{job_type}", input or {}, key=self.ann)
        assert reply.status == 202, reply.body
        return str(reply.json["jobId"])

    def sign_in(self, key: str) -> str:
        """The `Cookie` header."""
        reply = self.ask("POST", "/session", {"key": key})
        assert reply.status == 200, reply.body
        (cookie,) = SimpleCookie(reply.headers["Set-Cookie"]).values()
        return f"{cookie.key}={cookie.value}"

    def ticket(self, job_id: str, **order: int) -> str:
        reply = self.ask("POST", f"/jobs/{job_id}/tickets", order, key=self.ann)
        assert reply.status == 201, reply.body
        assert reply.headers["Cache-Control"] == "no-store"
        return str(reply.json["ticket"])


MANY_WRONG_KEYS = {"HEADWAY_FAILED_SIGN_INS_PER_MINUTE": "10000"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    data_dir = tmp_path_factory.mktemp("guarded") / "data"
    ann = make_key(data_dir, "ann")
    public = {"HEADWAY_PUBLIC_URL": "http://jobs.example.com", "HEADWAY_CORS_ORIGINS": "https://friend.example"}
    public |= MANY_WRONG_KEYS
    with ServerProcess(data_dir, "--jobs", str(TEST_JOBS), env=public) as server:
        yield Guarded(server, data_dir, ann)


# Keys


def test_without_a_key_only_open_paths_are_served(guarded: Guarded) -> None:
    for path in (
        "/jobs",
        "/jobs/stats",
        "/jobs/progress",
        "/job-types",
        "/metrics",
        "/openapi.json",
        "/api/todos",
        "/no",
    ):
        reply = guarded.ask("GET", path)
        assert (reply.status, reply.json["type"]) == (401, "/problems/unauthorized"), path
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="headway"'
    assert guarded.ask("POST", "/jobs/noop", {}).status == 401
    for path in ("/", "/docs", "/static/app.js", "/healthz", "/readyz", "/session"):
        assert guarded.ask("GET", path).status == 200, path


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "Bearer x", "bearer hwk_", f"Bearer {UNKNOWN_KEY}", f"Bearer {UNKNOWN_SESSION}",
     "Bearer " + "hwk_" + "a" * 5000, "Bearer hwk_" + "ä" * 43],
)  # fmt: skip
def test_an_invalid_key_is_401_even_where_no_key_is_needed(guarded: Guarded, authorization: str) -> None:
    for path in ("/jobs", "/healthz"):
        reply = guarded.ask("GET", path, Authorization=authorization)
        assert (reply.status, "invalid_token" in reply.headers["WWW-Authenticate"]) == (401, True)


def test_credentials_of_another_scheme_are_ignored(guarded: Guarded) -> None:
    assert guarded.ask("GET", "/jobs", Authorization="Basic YTpi").status == 401
    assert guarded.ask("GET", "/healthz", Authorization="Basic YTpi").status == 200


def test_a_read_only_key_changes_nothing(guarded: Guarded) -> None:
    key = make_key(guarded.data_dir, "looker", "--owner", "ann", "--read-only")
    job_id = guarded.submit("noop")
    assert guarded.ask("GET", f"/jobs/{job_id}", key=key).status in (200, 202)
    for method, path in (("POST", "/jobs/noop"), ("POST", "/jobs"), ("DELETE", f"/jobs/{job_id}"),
                         ("POST", f"/jobs/{job_id}/retry"), ("POST", f"/jobs/{job_id}/tickets"),
                         ("DELETE", f"/jobs/{job_id}/result"), ("POST", "/api/todos"),
                         ("POST", f"/v1/jobs/operations/{job_id}:cancel")):  # fmt: skip
        reply = guarded.ask(method, path, {} if method == "POST" else None, key=key)
        assert (reply.status, reply.json["type"]) == (403, "/problems/forbidden"), path


def test_a_revoked_key_is_rejected_immediately_and_its_streams_end(guarded: Guarded) -> None:
    key = make_key(guarded.data_dir, "leaver", "--owner", "ann")
    job_id = guarded.submit("steps-async", LONG)
    cookie = guarded.sign_in(key)
    streams = [
        guarded.server.events(f"/jobs/{job_id}/progress", dict(bearer(key))),
        guarded.server.events("/jobs/progress", {"Cookie": cookie}),
    ]
    for stream in streams:
        next(stream)
    assert keys(guarded.data_dir, "revoke", "leaver").returncode == 0
    for stream in streams:
        with suppress(http.client.IncompleteRead, ConnectionError):
            for _ in stream:  # one that goes on ends the test at the time-out
                pass
    assert guarded.ask("GET", "/jobs", key=key).status == 401
    assert guarded.ask("GET", "/jobs", Cookie=cookie).status == 401
    assert guarded.ask("DELETE", f"/jobs/{job_id}", key=guarded.ann).status == 204


def test_requests_in_progress_with_a_revoked_key_are_cut(guarded: Guarded) -> None:
    key = make_key(guarded.data_dir, "quitter", "--owner", "ann")
    job_id = guarded.submit("steps-async", LONG)
    jobs_before = guarded.ask("GET", "/jobs/stats", key=guarded.ann).json["total"]
    head = f"HTTP/1.1\r\nHost: jobs.example.com\r\nAuthorization: Bearer {key}\r\n"
    body = "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
    with (
        dial(guarded.server.port) as submitting,
        dial(guarded.server.port) as polling,
        dial(guarded.server.port) as idle,
    ):
        for connection in (polling, idle):
            connection.sendall(f"GET /healthz {head}\r\n".encode())
            assert connection.recv(1024).startswith(b"HTTP/1.1 200 ")
        polling.sendall(f"GET /jobs/{job_id}?wait=50 {head}\r\n".encode())
        submitting.sendall(f"POST /jobs/noop {head}{body}\r\n".encode())
        assert submitting.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert keys(guarded.data_dir, "revoke", "quitter").returncode == 0
        with suppress(ConnectionError):
            submitting.sendall(b"{}")
        for connection in (submitting, polling, idle):
            with suppress(ConnectionError):
                assert connection.recv(1024) == b""
    assert guarded.ask("GET", "/jobs/stats", key=guarded.ann).json["total"] == jobs_before
    assert guarded.ask("DELETE", f"/jobs/{job_id}", key=guarded.ann).status == 204


def test_a_download_with_a_revoked_key_is_cut(guarded: Guarded) -> None:
    key = make_key(guarded.data_dir, "taker", "--owner", "ann")
    job_id = guarded.submit("big-file")
    assert guarded.ask("GET", f"/jobs/{job_id}?wait=30", key=guarded.ann).json["status"] == "completed"
    connection = http.client.HTTPConnection("127.0.0.1", guarded.server.port, timeout=WAIT_TIMEOUT_S)
    with contextlib.closing(connection):
        connection.request("GET", f"/jobs/{job_id}/files/big.bin", headers=dict(bearer(key)))
        response = connection.getresponse()
        assert response.read(1) == b"."
        assert keys(guarded.data_dir, "revoke", "taker").returncode == 0
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), WAIT_TIMEOUT_S)


def test_keys_are_listed_without_their_secret_and_stored_as_hashes(guarded: Guarded) -> None:
    listed = keys(guarded.data_dir, "list").stdout
    assert re.search(r"^ann +[0-9a-f]{16} +ann +- +- +20\S+ +-$", listed, re.MULTILINE)
    assert guarded.ann not in listed
    for file in guarded.data_dir.glob("headway.db*"):
        assert guarded.ann.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "ann"], "there is already a key 'ann'"),
        (["create", "a b"], "is not a valid name"),
        (["create", "x", "--owner", "*"], "is not a valid name"),
        (["revoke", "nobody"], "there is no valid key 'nobody'"),
    ],
)
def test_errors_of_the_key_commands_are_one_line(guarded: Guarded, arguments: list[str], words: str) -> None:
    refused = keys(guarded.data_dir, *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr


def test_keys_and_sessions_survive_a_crash(tmp_path: Path) -> None:
    ann = make_key(tmp_path, "ann")
    with ServerProcess(tmp_path, env={"HEADWAY_PUBLIC_URL": "http://jobs.example.com"}) as server:
        guarded = Guarded(server, tmp_path, ann)
        bob = make_key(tmp_path, "bob")  # beside the running server
        cookie = guarded.sign_in(bob)
        ticket_for = guarded.submit("ping")
        ticket = guarded.ticket(ticket_for)
        server.kill()
        server.restart()
        assert guarded.ask("GET", "/jobs", key=bob).status == 200
        assert guarded.ask("GET", "/session", Cookie=cookie).json["name"] == "bob"
        assert guarded.ask("GET", f"/jobs/{ticket_for}?ticket={ticket}").status in (200, 202)


# Where a key is needed


@pytest.mark.parametrize("flags", [["--host", "0.0.0.0"], ["--host", "::"], []])  # noqa: S104 - that is the point
def test_an_exposed_server_does_not_start_without_a_key(flags: list[str], tmp_path: Path) -> None:
    public = {} if flags else {"HEADWAY_PUBLIC_URL": "https://jobs.example.com"}
    refused = run_command("--port", "0", "--data-dir", str(tmp_path), *flags, env=public)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "there is no API key: create one with `headway keys create NAME`" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_insecure_server_needs_no_key(serving: Serving) -> None:
    server = serving(":memory:", "--insecure", env={"HEADWAY_PUBLIC_URL": "https://jobs.example.com"})
    assert server.request("GET", "/jobs").status == 200
    assert server.request("GET", "/session").json["keyNeeded"] is False


def test_on_loopback_no_key_is_needed(serving: Serving, tmp_path: Path) -> None:
    key = make_key(tmp_path / "data", "ann")
    server = serving(tmp_path / "data")
    mine = server.submit("noop")
    assert server.request("GET", "/session").json == {
        "keyNeeded": False, "signedIn": False, "name": None, "owner": None, "admin": False, "readOnly": False,
    }  # fmt: skip
    assert server.request("GET", f"/jobs/{mine}", headers=dict(bearer(key))).status == 404
    assert server.request("GET", "/jobs", headers={"Cookie": "headway-00000000=of-another-server"}).status == 200


def test_requests_through_an_unknown_proxy_are_logged_once(serving: Serving) -> None:
    server = serving()
    for _ in range(3):
        server.request("GET", "/jobs", headers={"X-Forwarded-For": "198.51.100.7"})
    assert server.log().count("set HEADWAY_PUBLIC_URL") == 1


# Sessions


def test_a_session_is_a_cookie_that_no_script_reads(guarded: Guarded) -> None:
    reply = guarded.ask("POST", "/session", {"key": guarded.ann})
    parts = {part.strip() for part in reply.headers["Set-Cookie"].split(";")[1:]}
    assert parts == {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"}
    assert reply.headers["Cache-Control"] == "no-store"
    shown = {"keyNeeded": True, "signedIn": True, "name": "ann", "owner": "ann", "admin": False, "readOnly": False}
    assert reply.json == shown
    cookie = guarded.sign_in(guarded.ann)
    assert guarded.ask("GET", "/session", Cookie=cookie).json == shown
    assert guarded.ask("POST", "/jobs/noop", {}, Cookie=cookie).status == 202
    ended = guarded.ask("DELETE", "/session", Cookie=cookie)
    assert (ended.status, "Max-Age=0" in ended.headers["Set-Cookie"]) == (204, True)
    assert guarded.ask("GET", "/jobs", Cookie=cookie).status == 401


def test_a_session_is_found_among_the_cookies_of_others(guarded: Guarded) -> None:
    session = guarded.sign_in(guarded.ann)
    name, _, token = session.partition("=")
    for cookies in (
        session,
        f"a=b; {session}",
        f'{session};c="d; e"',
        f"{name}=other;{session} ",
        f"x{name}=y; {session}",
    ):
        assert guarded.ask("GET", "/jobs", Cookie=cookies).status == 200, cookies
    for cookies in (
        f"{session}x",
        f"{session}!",
        f"x{session}",
        f"a={session}",
        f"{name}={token[:-1]}",
        f"{session}=",
        name,
    ):
        assert guarded.ask("GET", "/jobs", Cookie=cookies).status == 401, cookies


def test_behind_https_the_cookie_is_secure_and_bound_to_the_host(serving: Serving, tmp_path: Path) -> None:
    key = make_key(tmp_path / "data", "ann")
    server = serving(tmp_path / "data", env={"HEADWAY_PUBLIC_URL": "https://jobs.example.com/x"})
    cookie = server.request("POST", "/session", {"key": key}).headers["Set-Cookie"]
    assert re.match(r"__Host-headway-[0-9a-f]{8}=hws_", cookie)
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}


def test_signing_out_ends_the_streams_of_the_session_in_every_tab_and_no_others(guarded: Guarded) -> None:
    cookie, elsewhere = guarded.sign_in(guarded.ann), guarded.sign_in(guarded.ann)
    in_other_tabs = [guarded.server.events("/jobs/progress", {"Cookie": cookie}) for _ in range(2)]
    in_another_browser = guarded.server.events("/jobs/progress", {"Cookie": elsewhere})
    of_a_program = guarded.server.events("/jobs/progress", dict(bearer(guarded.ann)))
    for stream in (*in_other_tabs, in_another_browser, of_a_program):
        next(stream)
    assert guarded.ask("DELETE", "/session", Cookie=cookie).status == 204
    for stream in in_other_tabs:
        with suppress(http.client.IncompleteRead, ConnectionError):
            for _ in stream:
                pass
    job_id = guarded.submit("noop")
    for stream in (in_another_browser, of_a_program):
        assert any(event.data.get("jobId") == job_id for event in stream)


def test_two_servers_on_one_host_have_sessions_of_their_own(serving: Serving, tmp_path: Path) -> None:
    cookies, servers = {}, []
    for name in ("one", "two"):
        key = make_key(tmp_path / name, name)
        server = serving(tmp_path / name, env={"HEADWAY_PUBLIC_URL": "http://jobs.example.com"})
        (cookie,) = SimpleCookie(server.request("POST", "/session", {"key": key}).headers["Set-Cookie"]).values()
        cookies[cookie.key] = cookie.value  # as a browser keeps them, which knows no ports
        servers.append((name, server))
    sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    for name, server in servers:
        assert server.request("GET", "/session", headers=sent).json["name"] == name


@pytest.mark.parametrize("body", [{"key": "hwk_"}, {"key": UNKNOWN_KEY}, {"key": UNKNOWN_SESSION}, {"key": ""}])
def test_an_invalid_key_opens_no_session(guarded: Guarded, body: object) -> None:
    reply = guarded.ask("POST", "/session", body)
    assert (reply.status, "Set-Cookie" in reply.headers) == (401, False)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "http://jobs.example.com"}, 202),
        ({"Sec_Fetch_Site": "none"}, 202),
        ({"Origin": "http://jobs.example.com"}, 202),
        ({"Origin": "http://127.0.0.1:{port}"}, 202),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Origin": "http://other.example.com"}, 403),
        ({"Origin": "https://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1.evil.test:{port}"}, 403),
        ({"Origin": "https://friend.example"}, 403),  # CORS lets it in with a key of its own, not with our cookie
        ({"Sec_Fetch_Site": "rubbish"}, 403),
    ],
)
def test_only_the_servers_own_page_can_write_with_the_cookie(
    guarded: Guarded, headers: dict[str, str], status: int
) -> None:
    sent = {name: value.format(port=guarded.server.port) for name, value in headers.items()}
    cookie = guarded.sign_in(guarded.ann)
    before = guarded.ask("GET", "/jobs/stats", key=guarded.ann).json["total"]
    assert guarded.ask("POST", "/jobs/noop", {}, Cookie=cookie, **sent).status == status
    assert guarded.ask("GET", "/jobs/stats", key=guarded.ann).json["total"] == before + (status == 202)
    assert guarded.ask("DELETE", "/session", Cookie=cookie, **sent).status == (204 if status == 202 else 403)


def test_on_loopback_another_sites_page_cannot_write_either(serving: Serving) -> None:
    """It could: a form, or a body without a type, needs no preflight."""
    server = serving()
    for headers in ({"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
        assert server.request("POST", "/jobs/noop", b"", headers).status == 403
    assert server.request("POST", "/jobs/noop", b"", {"Origin": f"http://127.0.0.1:{server.port}"}).status == 202


# Pages of other origins


def test_only_allowed_origins_may_read_responses(guarded: Guarded) -> None:
    friend, evil = "https://friend.example", "https://evil.test"
    wish = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
    answer = guarded.ask("OPTIONS", "/jobs/noop", Origin=friend, **wish)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, friend)
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    refused = guarded.ask("OPTIONS", "/jobs/noop", Origin=evil, **wish)
    assert (refused.status, "Access-Control-Allow-Origin" in refused.headers) == (401, False)
    for path in ("/jobs", f"/jobs/{guarded.submit()}"):
        read = guarded.ask("GET", path, key=guarded.ann, Origin=friend)
        assert read.headers["Access-Control-Allow-Origin"] == friend
        assert "Origin" in read.headers["Vary"].split(", ")
        assert "Access-Control-Allow-Origin" not in guarded.ask("GET", path, key=guarded.ann, Origin=evil).headers
    assert (
        guarded.ask("POST", "/jobs/noop", {}, key=guarded.ann, Origin=friend, Sec_Fetch_Site="cross-site").status == 202
    )


# Tickets


def test_a_ticket_reads_one_job(guarded: Guarded) -> None:
    job_id = guarded.submit("writes-files", {"text": "hello"})
    ticket = guarded.ticket(job_id)
    states = [
        event.data for event in guarded.server.events(f"/jobs/{job_id}/progress?ticket={ticket}") if not event.name
    ]
    assert states[-1]["status"] == "completed"
    for path in ("", "/result", "/logs", "/attempts", "/badge.svg", "/files", "/files.zip", "/files/report.html"):
        assert guarded.ask("GET", f"/jobs/{job_id}{path}?ticket={ticket}").status == 200, path
    assert guarded.ask("GET", f"/jobs/{job_id}?wait=1&ticket={ticket}").status == 200
    assert guarded.ask("GET", f"/jobs/{job_id}?surprise=1&ticket={ticket}").status == 422


def test_a_ticket_is_valid_for_one_job_and_for_reading_only(guarded: Guarded) -> None:
    job_id, other = guarded.submit(), guarded.submit()
    ticket = guarded.ticket(job_id)
    for method, path in (
        ("GET", f"/jobs/{other}"), ("GET", f"/jobs/{other}/progress"), ("GET", f"/jobs/{other}/files/x"),
        ("DELETE", f"/jobs/{job_id}"), ("DELETE", f"/jobs/{job_id}/result"), ("POST", f"/jobs/{job_id}/retry"),
        ("POST", f"/jobs/{job_id}/tickets"), ("GET", f"/jobs/{job_id}/deliveries"), ("GET", "/jobs"),
        ("GET", "/jobs/progress"), ("GET", f"/operations/{job_id}"), ("GET", "/jobs/stats"),
    ):  # fmt: skip
        assert guarded.ask(method, f"{path}?ticket={ticket}").status == 401, (method, path)


def test_a_ticket_expires(guarded: Guarded) -> None:
    job_id = guarded.submit()
    ticket = guarded.ticket(job_id, expiresInSeconds=1)
    path = f"/jobs/{job_id}?ticket={ticket}"
    assert guarded.ask("GET", path).status in (200, 202)
    refused = eventually(lambda: (reply := guarded.ask("GET", path)).status == 401 and reply)
    assert "has expired" in refused.json["detail"]
    for seconds in (0, 3601, "5", None, 1.5):
        assert (
            guarded.ask("POST", f"/jobs/{job_id}/tickets", {"expiresInSeconds": seconds}, key=guarded.ann).status == 422
        )


@pytest.mark.parametrize(
    "ticket", ["", "x", "hwt_", "hwt_x.y", "hwt_" + "a" * 390, "hwt_" + "a" * 10_000, "hwt_%00", "hwt_%C3%A4.x"]
)
def test_an_invalid_ticket_is_401(guarded: Guarded, ticket: str) -> None:
    for tried in (ticket, f"{guarded.ticket(guarded.submit())}x"):
        path = f"/jobs/{guarded.submit()}/progress?ticket={tried}"
        assert guarded.ask("GET", path).status == 401


def test_a_ticket_is_invalid_once_its_key_is_revoked(guarded: Guarded) -> None:
    key = make_key(guarded.data_dir, "lender", "--owner", "ann")
    job_id = guarded.submit()
    ticket = guarded.ask("POST", f"/jobs/{job_id}/tickets", {}, key=key).json["ticket"]
    assert guarded.ask("GET", f"/jobs/{job_id}?ticket={ticket}").status in (200, 202)
    keys(guarded.data_dir, "revoke", "lender")
    assert guarded.ask("GET", f"/jobs/{job_id}?ticket={ticket}").status == 401


# Hosts


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:8080", 200), ("a.localhost", 200),
        ("jobs.example.com", 200), ("friend.example:8080", 200), ("evil.test", 421), ("evil.test:{port}", 421),
        ("127.0.0.1.evil.test", 421), ("8.8.8.8", 421), ("localhost.evil.test", 421), ("", 421),
        ("jobs.example.com@evil.test", 421), ("évil", 421),
    ],
)  # fmt: skip
def test_requests_for_other_host_names_are_rejected(hosted: ServerProcess, host: str, status: int) -> None:
    named = host.format(port=hosted.port).encode().decode("latin-1")
    reply = hosted.request("GET", "/healthz", headers={"Host": named})
    assert reply.status == status
    if status == 421:
        assert reply.json["type"] == "/problems/misdirected"


@pytest.fixture(scope="module")
def hosted() -> Iterator[ServerProcess]:
    env = {"HEADWAY_PUBLIC_URL": "http://jobs.example.com", "HEADWAY_ALLOWED_HOSTS": "friend.example, other.example"}
    with ServerProcess(":memory:", "--insecure", env=env) as server:
        yield server


def test_credentials_are_never_logged(guarded: Guarded) -> None:
    job_id = guarded.submit()
    ticket, cookie = guarded.ticket(job_id), guarded.sign_in(guarded.ann)
    guarded.ask("GET", f"/jobs/{job_id}?ticket={ticket}x")
    guarded.ask("GET", "/jobs", Cookie=cookie)
    assert re.search(r"hw[kst]_[A-Za-z0-9_-]{10}", guarded.server.log()) is None
