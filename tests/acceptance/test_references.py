"""The requests of the articles that Headway grew from, word for word: their readers type exactly this.

`test_flows.py` has the whole flows; here each line of the articles is one test.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.http_file import client_of
from tests.acceptance.test_flows import finished, watched
from tests.support.process import ServerProcess

SEATTLE = '{"city":"Seattle","date":"2025-11-08"}'
SALES_REPORT = '{"type":"SalesReport","from":"2026-01-01","to":"2026-03-31"}'
YEARLY = '{"reportType":"yearly-sales","parameters":{"year":"2023"}}'
TODO = '{"dueBy":"2024-02-14","title":"Write an article"}'
LATER = {"runAt": "2099-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with ServerProcess() as server, client_of(server) as client:
        yield client


def post(http: httpx.Client, url: str, body: str = "", **query: Any) -> httpx.Response:
    return http.post(url, content=body, params=query, headers={"Content-Type": "application/json"} if body else {})


def accepted(answer: httpx.Response) -> Any:
    """What every 202 promises."""
    assert answer.status_code == 202, answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    job = answer.json()
    assert answer.headers["Location"].startswith(job["statusUrl"])
    assert job["status"] == "queued"
    return job


# Polling with a token


def test_a_forecast_is_accepted_and_its_status_is_202_then_200_with_the_forecast(http: httpx.Client) -> None:
    job = accepted(post(http, "/jobs/weather", SEATTLE))
    ended = finished(http, f"/jobs/{job['jobId']}")
    assert ended["status"] == "completed"
    assert ended["result"].keys() == {"city", "date", "temperatureC", "summary"}
    assert (ended["result"]["city"], ended["result"]["date"]) == ("Seattle", "2025-11-08")


def test_a_forecast_without_a_date_is_for_a_default_day(http: httpx.Client) -> None:
    job = accepted(post(http, "/jobs/weather", '{"city":"Seattle"}'))
    ended = finished(http, job["statusUrl"])
    assert ended["result"]["date"] == ended["startedAt"][:10]


def test_a_bare_input_is_told_both_ways_to_name_the_type(http: httpx.Client) -> None:
    answer = post(http, "/jobs", SEATTLE)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/validation-failed")
    assert "/jobs/{type}" in answer.json()["detail"]
    assert '{"type": "…", "input": {…}}' in answer.json()["detail"]
    assert answer.json()["errors"][0]["pointer"] == "/type"


def test_a_draw_needs_no_body(http: httpx.Client) -> None:
    job = accepted(post(http, "/jobs/lottery"))
    assert finished(http, job["statusUrl"])["status"] == "completed"


def test_a_token_that_was_never_given_is_unknown(http: httpx.Client) -> None:
    assert http.get("/jobs/00000000-0000-7000-8000-000000000000").status_code == 404


def test_a_job_in_progress_is_202_and_a_delete_cancels_it(http: httpx.Client) -> None:
    job = accepted(post(http, "/jobs/weather", SEATTLE, **LATER))
    status = http.get(f"/jobs/{job['jobId']}")
    assert (status.status_code, status.json()["status"]) == (202, "queued")
    assert int(status.headers["Retry-After"]) >= 1
    assert http.delete(f"/jobs/{job['jobId']}").status_code == 204
    status = http.get(f"/jobs/{job['jobId']}")
    assert (status.status_code, status.json()["status"]) == (200, "cancelled")


def test_a_delete_with_purge_leaves_nothing(http: httpx.Client) -> None:
    job = accepted(post(http, "/jobs/weather", SEATTLE, **LATER))
    assert http.delete(f"/jobs/{job['jobId']}?purge=true").status_code == 204
    assert http.get(f"/jobs/{job['jobId']}").status_code == 404


# Long-running operations


def test_a_report_is_submitted_followed_and_read_where_its_result_url_says(http: httpx.Client) -> None:
    job = accepted(post(http, "/api/reports", SALES_REPORT))
    states = watched(http, f"/jobs/{job['jobId']}/progress")  # new EventSource(…), JSON.parse(e.data)
    assert {"status", "progress"} <= states[0].keys()
    assert (states[-1]["status"], states[-1]["progress"]) == ("completed", 100)
    assert states[-1]["resultUrl"] == f"/api/reports/{job['jobId']}"
    report = http.get(states[-1]["resultUrl"])
    assert report.status_code == 200
    assert (report.json()["from"], report.json()["to"]) == ("2026-01-01", "2026-03-31")
    status = http.get(f"/jobs/{job['jobId']}")
    assert (status.status_code, status.json()["progress"]) == (200, 100)
    refused = http.delete(f"/jobs/{job['jobId']}")
    assert (refused.status_code, "completed" in refused.json()["detail"]) == (409, True)
    assert http.delete("/jobs/00000000-0000-7000-8000-000000000000").status_code == 404


def test_the_estimated_duration_is_known_after_the_first_run(http: httpx.Client) -> None:
    finished(http, accepted(post(http, "/api/reports", SALES_REPORT))["statusUrl"])
    job = accepted(post(http, "/api/reports", SALES_REPORT))
    estimates = [state["etaSeconds"] for state in watched(http, job["progressUrl"]) if state["status"] == "running"]
    assert any(estimate is not None for estimate in estimates)


def test_a_report_may_carry_its_webhook_in_its_body(http: httpx.Client) -> None:
    body = json.dumps({**json.loads(SALES_REPORT), "webhookUrl": "https://8.8.8.8/hook"})
    job = accepted(post(http, "/api/reports", body, **LATER))
    assert http.get(job["statusUrl"]).json()["input"] == json.loads(SALES_REPORT)
    assert http.delete(job["statusUrl"]).status_code == 204


# Asynchronous request-reply


def test_a_todo_is_created_by_following_location(http: httpx.Client) -> None:
    answer = post(http, "/api/todos", TODO)
    accepted(answer)
    followed = http.get(answer.headers["Location"], headers={"Prefer": "wait=20"}, follow_redirects=True)
    assert followed.status_code == 200
    todo = followed.json()
    assert followed.url.path == f"/api/todos/{todo['id']}"
    assert (todo["title"], todo["dueBy"]) == ("Write an article", "2024-02-14")
    assert todo in http.get("/api/todos").json()
    assert http.get("/api/todos/1").status_code == 404


# Typed workers


def test_a_typed_worker_creates_reports_and_deletes_its_output(http: httpx.Client) -> None:
    job = accepted(post(http, "/jobs/ping", '{"message":"hello"}'))
    assert finished(http, job["statusUrl"])["result"]["message"] == "hello"
    assert http.get(f"{job['statusUrl']}/result").status_code == 200
    assert http.delete(f"{job['statusUrl']}/result").status_code == 204
    assert http.get(f"{job['statusUrl']}/result").status_code == 410
    assert http.delete(job["statusUrl"], params={"purge": True}).status_code == 204


# 202 with a /status resource


def test_a_yearly_report_has_a_status_and_a_download(http: httpx.Client) -> None:
    job = accepted(post(http, "/api/reports", YEARLY))
    report = f"/api/reports/{job['jobId']}"
    assert http.get(f"{report}/status").status_code in (200, 202)
    ended = finished(http, f"{report}/status")
    assert (ended["status"], ended["resultUrl"]) == ("completed", report)
    assert http.get(report).json()["title"] == "Yearly sales 2023"
    download = http.get(f"{report}/download")
    assert (download.status_code, download.headers["Content-Type"]) == (200, "text/csv")
    assert download.headers["Content-Disposition"].startswith("attachment")


def test_the_description_has_examples_of_what_is_sent_and_of_jobs_in_progress_and_finished(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    sent = document["paths"]["/api/reports"]["post"]["requestBody"]["content"]["application/json"]
    assert sent["example"] == json.loads(SALES_REPORT)
