"""Azure's own poller (`azure.core.polling`) follows jobs, through a proxy with a path prefix."""

import importlib.metadata
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from azure.core import PipelineClient
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import RedirectPolicy, RequestIdPolicy, RetryPolicy
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import LocationPolling, LROBasePolling, StatusCheckPolling
from azure.core.rest import HttpRequest

from tests.support.client_table import assert_in_the_table
from tests.support.process import WAIT_TIMEOUT_S, ServerProcess
from tests.support.proxy import PrefixProxy
from tests.support.raw import assert_problem, send
from tests.support.serving import LATER, UNKNOWN, ended

BIG = 70_000


@pytest.fixture
def client(proxy: PrefixProxy, published: ServerProcess) -> Iterator[Any]:
    with PipelineClient[Any, Any](proxy.url, policies=[RequestIdPolicy(), RedirectPolicy(), RetryPolicy()]) as client:
        yield client


def begin(client: Any, path: str, input: Any, polling: Any = None) -> LROPoller[Any]:
    """Submit a job, and let the SDK follow it; a result is what the last answer holds."""
    request = HttpRequest("POST", client.format_url(path), json=input)
    initial = client.send_request(request, _return_pipeline_response=True)
    assert initial.http_response.status_code == 202
    return LROPoller(
        client,
        initial,
        lambda response: response.http_response.json(),
        polling or LROBasePolling(timeout=1),
    )


def test_a_poller_ends_at_the_result_by_operation_location(client: Any) -> None:
    poller = begin(client, "/jobs/steps-process", {"steps": 30, "step_s": 0.05})
    assert poller.result(WAIT_TIMEOUT_S) == {"steps": 30}
    assert poller.status() == "Succeeded"
    assert_in_the_table("azure-core", importlib.metadata.version("azure-core"))


def test_a_failure_raises_with_the_jobs_error(client: Any) -> None:
    poller = begin(client, "/jobs/fails", {"text": "tomorrow"})
    with pytest.raises(HttpResponseError) as raised:
        poller.result(WAIT_TIMEOUT_S)
    assert poller.status() == "Failed"
    assert raised.value.error is not None
    assert (raised.value.error.code, raised.value.error.message) == ("no-luck", "No luck: tomorrow")


def test_a_cancel_raises(client: Any, published: ServerProcess) -> None:
    poller = begin(client, f"/jobs/noop{LATER}&label=cancel", {})
    (job,) = published.request("GET", "/jobs?label=cancel").json["jobs"]
    assert published.request("DELETE", f"/jobs/{job['jobId']}").status == 204
    with pytest.raises(HttpResponseError):
        poller.result(WAIT_TIMEOUT_S)
    assert poller.status() == "Canceled"


def test_without_a_last_request_the_result_is_in_the_status_monitor(client: Any) -> None:
    options = {"final-state-via": "operation-location"}
    polling: Any = LROBasePolling(timeout=1, lro_options=options)
    monitor = begin(client, "/jobs/steps-async", {"steps": 2}, polling).result(WAIT_TIMEOUT_S)
    assert (monitor["status"], monitor["result"]) == ("Succeeded", {"steps": 2})


def by_location() -> Any:
    """The SDK's poller as it is where a service names no `Operation-Location`."""
    return LROBasePolling(timeout=1, lro_algorithms=[LocationPolling(), StatusCheckPolling()])


@pytest.mark.parametrize("new_polling", [by_location, lambda: LROBasePolling(timeout=1)])
def test_a_poller_ends_at_the_todo(client: Any, proxy: PrefixProxy, new_polling: Any) -> None:
    polling = new_polling()
    todo = begin(client, "/api/todos", {"title": "Buy milk"}, polling).result(WAIT_TIMEOUT_S)
    assert todo["title"] == "Buy milk"
    assert polling._pipeline_response.http_response.url == f"{proxy.url}/api/todos/{todo['id']}"


def test_by_location_a_failure_raises(client: Any) -> None:
    poller = begin(client, "/test/failures", {"text": "tomorrow"}, by_location())
    with pytest.raises(HttpResponseError) as raised:
        poller.result(WAIT_TIMEOUT_S)
    assert poller.status() == "Failed"
    answer: Any = raised.value.response
    assert (answer.status_code, answer.json()["jobError"]["title"]) == (409, "No luck")


def test_by_location_a_cancel_raises(client: Any, published: ServerProcess) -> None:
    poller = begin(client, f"/test/failures{LATER}&label=by-location", {"text": "x"}, by_location())
    (job,) = published.request("GET", "/jobs?label=by-location").json["jobs"]
    assert published.request("DELETE", f"/jobs/{job['jobId']}").status == 204
    with pytest.raises(HttpResponseError) as raised:
        poller.result(WAIT_TIMEOUT_S)
    assert raised.value.status_code == 410


def test_a_client_that_knows_only_headers_ends_at_the_todo(proxy: PrefixProxy, published: ServerProcess) -> None:
    """It asks again after a 202, and follows what leads on; it never looks at a job."""
    with httpx.Client(follow_redirects=True, timeout=WAIT_TIMEOUT_S) as client:
        answer = client.post(f"{proxy.url}/api/todos", json={"title": "Drink it"})
        location = answer.headers["Location"]
        while answer.status_code == 202:
            time.sleep(int(answer.headers["Retry-After"]))
            answer = client.get(location)
    assert (answer.status_code, answer.json()["title"]) == (200, "Drink it")
    assert str(answer.url) == f"{proxy.url}/api/todos/{answer.json()['id']}"


def monitor_of(published: ServerProcess, job_id: str) -> Any:
    reply = send(published, "GET", f"/operations/{job_id}")
    assert (reply.status, reply.headers["Cache-Control"]) == (200, "private, no-cache")
    monitor = reply.json
    waiting = monitor["status"] in ("NotStarted", "Running")
    assert ("Retry-After" in reply.headers) == waiting
    assert (monitor["expirationDateTime"] is None) == waiting
    return monitor


def test_a_status_monitor_is_the_job_in_other_words(published: ServerProcess, proxy: PrefixProxy) -> None:
    job_id = ended(published, "steps-async", {"steps": 3})
    job = published.job(job_id)
    assert monitor_of(published, job_id) == {
        "id": job_id,
        "kind": "steps-async",
        "status": "Succeeded",
        "percentComplete": 100,
        "createdDateTime": job["createdAt"],
        "lastActionDateTime": job["updatedAt"],
        "expirationDateTime": job["expiresAt"],
        "resourceLocation": f"{proxy.url}/jobs/{job_id}/result",
        "error": None,
        "result": {"steps": 3},
    }


def test_a_status_monitor_says_how_far_it_is(published: ServerProcess) -> None:
    queued = published.submit("noop", query=LATER)
    monitor = monitor_of(published, queued)
    assert (monitor["status"], monitor["percentComplete"], monitor["resourceLocation"]) == ("NotStarted", None, None)
    running = published.submit("says", {"text": "on its way"})
    assert any(state["progress"] == 50 for state in published.states(running))
    published.request("DELETE", f"/jobs/{queued}")
    assert monitor_of(published, queued)["status"] == "Canceled"
    walking = published.submit("steps-async", {"steps": 2, "step_s": 60})
    published.wait_for(walking, "running")
    assert monitor_of(published, walking)["status"] == "Running"
    published.request("DELETE", f"/jobs/{walking}")


def test_a_big_result_is_at_the_url_in_the_monitor(published: ServerProcess, proxy: PrefixProxy) -> None:
    monitor = monitor_of(published, ended(published, "big-result", {"steps": BIG}))
    assert monitor["result"] is None
    path = monitor["resourceLocation"].removeprefix(proxy.url)
    assert published.request("GET", path).json == "x" * BIG


def test_a_monitor_takes_any_version_and_no_other_option(published: ServerProcess) -> None:
    job_id = ended(published, "noop")
    assert send(published, "GET", f"/operations/{job_id}?api-version=2026-01-01").status == 200
    reply = send(published, "GET", f"/operations/{job_id}?surprise=1")
    assert_problem(reply, 422, "validation-failed", "/surprise")
    problem = assert_problem(send(published, "GET", f"/operations/{UNKNOWN}"), 404, "not-found")
    assert problem["error"] == {"code": "not-found", "message": "There is no such job."}
    assert_problem(send(published, "GET", "/operations/nothing"), 404, "not-found")
