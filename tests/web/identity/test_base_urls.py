"""Absolute links without a public URL: from `Host`, and from what trusted proxies say."""

from typing import Any

import httpx
import pytest
from azure.core import PipelineClient
from azure.core.pipeline.policies import RedirectPolicy, RequestIdPolicy, RetryPolicy
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import LocationPolling, LROBasePolling, StatusCheckPolling
from azure.core.rest import HttpRequest

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess
from tests.support.raw import JSON, exchange, request_bytes, send
from tests.support.serving import LATER, Serving, ended

AZURE = ("x-ms-client-request-id", "8e03978e-40d5-43e8-bc93-6894a57f9324")


def poller(url: str, path: str, input: Any, **polling: Any) -> LROPoller[Any]:
    """Azure's stock poller; its `Location` has to be absolute, because it sends requests to it as it is."""
    client = PipelineClient[Any, Any](url, policies=[RequestIdPolicy(), RedirectPolicy(), RetryPolicy()])
    request = HttpRequest("POST", client.format_url(path), json=input)
    initial = client.send_request(request, _return_pipeline_response=True)
    found: Any = LROBasePolling(timeout=1, **polling)
    return LROPoller(client, initial, lambda response: response.http_response.json(), found)


def test_azures_poller_needs_no_public_url(server: ServerProcess) -> None:
    url = f"http://127.0.0.1:{server.port}"
    assert poller(url, "/jobs/steps-async", {"steps": 3}).result(WAIT_TIMEOUT_S) == {"steps": 3}
    todo = poller(url, "/api/todos", {"title": "Buy milk"}).result(WAIT_TIMEOUT_S)
    by_location: Any = {"lro_algorithms": [LocationPolling(), StatusCheckPolling()]}
    assert poller(url, "/api/todos", {"title": "Drink it"}, **by_location).result(WAIT_TIMEOUT_S)["id"] != todo["id"]


def submitted(server: ServerProcess, host: str, *headers: tuple[str, str], version: str = "1.1") -> dict[str, str]:
    request = request_bytes("POST", f"/jobs/noop{LATER}", (*JSON, *headers), b"{}", version=version)
    reply = exchange(server, request.replace(b"Host: localhost\r\n", f"Host: {host}\r\n".encode() if host else b""))
    assert reply is not None
    assert reply.status == 202
    return reply.headers


def test_operation_location_is_absolute_and_location_for_azures_clients_only(server: ServerProcess) -> None:
    for host in ("localhost:8080", "127.0.0.1:81", "[::1]:8080", "shop.localhost"):
        plain, azure = submitted(server, host), submitted(server, host, AZURE)
        assert plain["Operation-Location"].startswith(f"http://{host}/operations/")
        assert plain["Location"].startswith("/jobs/")
        assert azure["Location"].startswith(f"http://{host}/jobs/")
    assert submitted(server, "", version="1.0")["Operation-Location"].startswith("/operations/")


def test_a_ready_response_has_the_hosts_of_its_own_request(server: ServerProcess) -> None:
    """They are filled into one template."""
    for host in ("localhost", f"127.0.0.1:{server.port}"):
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers={"Host": host}) as client:
            reply = client.post(f"/jobs/noop{LATER}", json={})
            job_id = reply.json()["jobId"]
            assert reply.headers["Operation-Location"] == f"http://{host}/operations/{job_id}"


def test_what_a_client_follows_next_is_absolute_too(server: ServerProcess) -> None:
    job_id = ended(server, "noop")
    monitor = send(server, "GET", f"/operations/{job_id}").json
    assert monitor["resourceLocation"] == f"http://localhost/jobs/{job_id}/result"
    redirect = send(server, "GET", f"/jobs/{job_id}?redirect=true", (AZURE,))
    assert redirect.headers["Location"] == f"http://localhost/jobs/{job_id}/result"


@pytest.mark.parametrize(
    ("trusted", "expected"), [("127.0.0.1", "https://jobs.example.com"), ("", "http://inner.localhost:8080")]
)
def test_forwarding_headers_count_only_from_a_trusted_proxy(serving: Serving, trusted: str, expected: str) -> None:
    env = {"HEADWAY_ALLOWED_HOSTS": "jobs.example.com", "HEADWAY_TRUSTED_PROXIES": trusted}
    server = serving(":memory:", "--insecure", env=env)
    said = (("X-Forwarded-Proto", "http, https"), ("X-Forwarded-Host", "evil.test, jobs.example.com"))
    assert submitted(server, "inner.localhost:8080", *said)["Operation-Location"].startswith(f"{expected}/operations/")


def test_a_proxy_that_passes_on_what_a_client_made_up_changes_nothing(serving: Serving) -> None:
    server = serving(":memory:", "--insecure", env={"HEADWAY_TRUSTED_PROXIES": "127.0.0.1"})
    for name, value in (
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Host", "localhost/path"),
        ("X-Forwarded-Host", ""),
        ("X-Forwarded-Proto", "javascript"),
    ):
        assert submitted(server, "localhost", (name, value))["Operation-Location"].startswith("http://localhost/")
