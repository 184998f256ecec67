"""The flows of the APIs that Headway grew from, each as one test that reads like its document.

A real server and a plain HTTP client: what stands here is what a user types.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from tests.acceptance.http_file import client_of
from tests.support.process import ServerProcess, eventually

LATER = "2099-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with ServerProcess() as server, client_of(server) as client:
        yield client


def finished(http: httpx.Client, job_url: str) -> Any:
    """Poll until the job has ended; `Prefer: wait` saves the pauses between the polls."""
    answer = http.get(job_url, headers={"Prefer": "wait=20"})
    while answer.status_code == 202:
        assert int(answer.headers["Retry-After"]) >= 1
        answer = http.get(job_url, headers={"Prefer": "wait=20"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def watched(http: httpx.Client, progress_url: str) -> list[Any]:
    """The states that the job's stream sends, until the server ends it."""
    with connect_sse(http, "GET", progress_url) as stream:
        return [event.json() for event in stream.iter_sse() if event.event == "message"]


def test_weather_and_lottery_are_computed_watched_purged_and_expire(http: httpx.Client) -> None:
    # A forecast takes a while: it is accepted at once.
    accepted = http.post("/jobs/weather", json={"city": "Lisbon", "date": "2026-07-01"})
    assert accepted.status_code == 202
    assert int(accepted.headers["Retry-After"]) >= 1
    weather = accepted.headers["Location"]
    job = accepted.json()
    assert (weather, job["status"], job["progress"]) == (f"/jobs/{job['jobId']}", "queued", None)

    # Its progress arrives as it happens, up to 100.
    states = watched(http, job["progressUrl"])
    percents = [state["progress"] for state in states if state["progress"] is not None]
    assert len(percents) > 1
    assert percents == sorted(percents)
    assert (states[-1]["status"], percents[-1]) == ("completed", 100)

    # The forecast can be read, also as part of the job.
    forecast = http.get(states[-1]["resultUrl"])
    assert forecast.status_code == 200
    assert forecast.json() == {"city": "Lisbon", "date": "2026-07-01"} | {
        "temperatureC": pytest.approx(15, abs=40),
        "summary": forecast.json()["summary"],
    }
    assert http.get(weather).json()["result"] == forecast.json()

    # Purged, the job is unknown.
    assert http.delete(weather, params={"purge": True}).status_code == 204
    for url in (weather, job["progressUrl"], f"{weather}/result", f"{weather}/logs"):
        assert http.get(url).status_code == 404

    # A draw, and another that its client wants kept for one second only.
    kept = http.post("/jobs/lottery", json={"draws": 1000, "seed": 42}).headers["Location"]
    brief = http.post("/jobs/lottery", params={"retainSeconds": 1}, json={"draws": 1000, "seed": 42})
    assert brief.status_code == 202
    draw = finished(http, kept)
    assert len(set(draw["result"]["numbers"])) == 6
    assert draw["result"]["draws"] == 1000
    assert draw["expiresAt"] > draw["completedAt"]

    # Expired, it is gone like a purged one; the other stays.
    eventually(lambda: http.get(brief.headers["Location"]).status_code == 404, "the lottery did not expire")
    assert http.get(f"{brief.headers['Location']}/result").status_code == 404
    assert http.get(f"{kept}/result").json() == draw["result"]


def test_a_report_is_submitted_followed_read_and_downloaded(http: httpx.Client) -> None:
    # Submit a report on a quarter.
    accepted = http.post("/api/reports", json={"type": "SalesReport", "from": "2026-01-01", "to": "2026-03-31"})
    assert accepted.status_code == 202
    assert accepted.headers["Location"] == f"/jobs/{accepted.json()['jobId']}"
    report = f"/api/reports/{accepted.json()['jobId']}"

    # Its status: 202 while it is being written, 200 when it is finished, 304 while nothing has changed.
    status = http.get(f"{report}/status")
    assert status.status_code in (200, 202)
    assert status.json()["type"] == "sales-report"
    states = watched(http, accepted.json()["progressUrl"])
    assert {"aggregating", "writing the report"} & {state["step"] for state in states}
    status = http.get(f"{report}/status")
    assert (status.status_code, status.json()["status"], status.json()["progress"]) == (200, "completed", 100)
    assert http.get(f"{report}/status", headers={"If-None-Match": status.headers["ETag"]}).status_code == 304

    # The report, month by month.
    quarter = http.get(report).json()
    assert (quarter["title"], quarter["from"], quarter["to"]) == (
        "Sales from 2026-01-01 to 2026-03-31", "2026-01-01", "2026-03-31",
    )  # fmt: skip
    assert [month["name"] for month in quarter["months"]] == ["2026-01", "2026-02", "2026-03"]
    assert sum(month["orders"] for month in quarter["months"]) == quarter["orders"] > 15_000

    # Its file, as a table and as a page.
    table = http.get(f"{report}/download")
    assert table.headers["Content-Disposition"].startswith('attachment; filename="sales.csv"')
    assert sum(int(row["orders"]) for row in csv.DictReader(table.text.splitlines())) == quarter["orders"]
    page = http.get(f"{report}/download", params={"name": "sales.html", "inline": True})
    assert page.headers["Content-Type"] == "text/html"
    assert f"€{quarter['revenue']:,.2f}" in page.text

    # A year, as another client puts it.
    accepted = http.post("/api/reports", json={"reportType": "yearly-sales", "parameters": {"year": "2025"}})
    yearly = f"/api/reports/{accepted.json()['jobId']}"
    assert finished(http, f"{yearly}/status")["status"] == "completed"
    assert (http.get(yearly).json()["title"], len(http.get(yearly).json()["months"])) == ("Yearly sales 2025", 12)

    # One that is cancelled before it is written.
    accepted = http.post("/api/reports", params={"runAt": LATER}, json={})
    planned = f"/api/reports/{accepted.json()['jobId']}"
    assert http.get(f"{planned}/status").status_code == 202
    for url in (planned, f"{planned}/download"):
        early = http.get(url)
        assert (early.status_code, early.json()["type"]) == (409, "/problems/not-finished")
        assert int(early.headers["Retry-After"]) >= 1
    assert http.delete(accepted.headers["Location"]).status_code == 204
    assert http.get(planned).status_code == 410

    # One that fails.
    accepted = http.post("/api/reports", json={"from": "2027-01-01"})
    failed = f"/api/reports/{accepted.json()['jobId']}"
    assert finished(http, f"{failed}/status")["error"]["type"] == "empty-period"
    problem = http.get(failed)
    assert (problem.status_code, problem.json()["jobError"]["type"]) == (422, "empty-period")

    # All of them, newest first.
    listed = http.get("/api/reports").json()["jobs"]
    assert [f"/api/reports/{job['jobId']}" for job in listed] == [failed, planned, yearly, report]
    assert [job["status"] for job in listed] == ["failed", "cancelled", "completed", "completed"]


def test_a_todo_is_created_in_the_background_and_found_by_following_the_headers(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        with client_of(server) as http:
            assert http.get("/api/todos").json() == []

            # The creation is accepted; the header leads to the todo.
            accepted = http.post("/api/todos", json={"title": "Buy milk", "dueBy": "2026-12-24"})
            assert accepted.status_code == 202
            location = accepted.headers["Location"]
            assert location == f"/jobs/{accepted.json()['jobId']}?redirect=true"

            # In progress: 202. Then 303 to the todo. A client that only follows headers never sees the job.
            assert finished_following(http, location).status_code == 303
            followed = http.get(location, follow_redirects=True)
            assert followed.status_code == 200
            todo = followed.json()
            assert followed.url.path == f"/api/todos/{todo['id']}"
            assert (todo["title"], todo["dueBy"]) == ("Buy milk", "2026-12-24")
            assert http.get(accepted.json()["statusUrl"]).json()["resultUrl"] == f"/api/todos/{todo['id']}"

            # It is in the list, with the next one before it.
            accepted = http.post("/api/todos", json={"title": "Drink it"})
            second = http.get(finished_following(http, accepted.headers["Location"]).headers["Location"]).json()
            assert http.get("/api/todos").json() == [second, todo]
            assert http.get("/api/todos", params={"limit": 1}).json() == [second]

            # An unknown todo, and an id that is not one.
            assert http.get("/api/todos/00000000").status_code == 404
            refused = http.post("/api/todos", json={"title": ""})
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/title")

            # The todo outlives the job, and the server.
            assert http.delete(f"/jobs/{todo['id']}", params={"purge": True}).status_code == 204
        server.kill()
        server.restart()
        with client_of(server) as http:
            assert http.get(f"/api/todos/{todo['id']}").json() == todo
            assert http.get("/api/todos").json() == [second, todo]


def finished_following(http: httpx.Client, location: str) -> httpx.Response:
    """Follow `location` until the response is no longer "in progress"."""
    answer = http.get(location, headers={"Prefer": "wait=20"})
    while answer.status_code == 202:
        answer = http.get(location, headers={"Prefer": "wait=20"})
    return answer


def test_a_ping_has_typed_input_and_output_and_its_output_can_be_deleted(http: httpx.Client) -> None:
    # The schemas of input and output are published.
    types = {job_type["name"]: job_type for job_type in http.get("/job-types").json()["jobTypes"]}
    assert types["ping"]["inputSchema"]["properties"]["message"]["type"] == "string"
    assert types["ping"]["outputSchema"]["required"] == ["reply", "message", "answeredAt"]

    # Invalid input is rejected, with a pointer to the error.
    refused = http.post("/jobs/ping", json={"message": 7})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/message")

    # Ping, pong.
    accepted = http.post("/jobs/ping", json={"message": "hello"})
    ping = accepted.headers["Location"]
    job = finished(http, ping)
    assert (job["input"], job["result"]["reply"], job["result"]["message"]) == ({"message": "hello"}, "pong", "hello")
    assert http.get(job["resultUrl"]).json() == job["result"]

    # Its output, as a file.
    (file,) = job["files"]
    assert (file["name"], file["contentType"]) == ("pong.json", "application/json")
    assert http.get(file["url"]).json() == job["result"]

    # When the output is deleted, the record stays.
    assert http.delete(f"{ping}/result").status_code == 204
    assert http.get(f"{ping}/result").status_code == 410
    assert http.get(file["url"]).status_code == 404
    kept = http.get(ping).json()
    assert (kept["status"], kept["input"]) == ("completed", {"message": "hello"})
    assert (kept["result"], kept["resultUrl"], kept["files"]) == (None, None, [])
    assert http.delete(f"{ping}/result").status_code == 204
