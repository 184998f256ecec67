"""Reading jobs: polls, lists, counts, logs, results, and what holds for every endpoint."""

import itertools

import pytest

from tests.support.process import ServerProcess
from tests.support.raw import assert_problem, send
from tests.support.representation import assert_representation
from tests.support.serving import LATER, UNKNOWN, Serving, ended


def running(server: ServerProcess) -> str:
    """A job that runs for a minute unless it is cancelled; its id."""
    job_id = server.submit("steps-async", {"steps": 1, "step_s": 60})
    server.wait_for(job_id, "running")
    return job_id


@pytest.fixture(scope="module")
def completed_id(server: ServerProcess) -> str:
    return ended(server, "steps-async", {"steps": 3}, "?label=walk")


@pytest.fixture(scope="module")
def failed_id(server: ServerProcess) -> str:
    return ended(server, "fails", {"text": "tomorrow"})


# Polls


def test_a_poll_in_progress_is_a_202_that_says_when_to_come_back(server: ServerProcess) -> None:
    for job_id in (server.submit("noop", query=LATER), running(server)):
        reply = server.request("GET", f"/jobs/{job_id}")
        assert reply.status == 202
        assert int(reply.headers["Retry-After"]) >= 1
        assert reply.headers["ETag"]
        assert reply.headers["Cache-Control"] == "private, no-cache"
        assert_representation(reply.json, detail=True)
        assert server.request("DELETE", f"/jobs/{job_id}").status == 204


def test_a_poll_after_the_end_is_a_200_a_failure_too(server: ServerProcess, completed_id: str, failed_id: str) -> None:
    cancelled_id = server.submit("noop", query=LATER)
    server.request("DELETE", f"/jobs/{cancelled_id}")
    for job_id, status in ((completed_id, "completed"), (failed_id, "failed"), (cancelled_id, "cancelled")):
        reply = server.request("GET", f"/jobs/{job_id}")
        assert (reply.status, reply.json["status"]) == (200, status)
        assert "Retry-After" not in reply.headers
        assert reply.headers["ETag"]
        assert reply.headers["Cache-Control"] == "private, no-cache"
        assert_representation(reply.json, detail=True)


def test_a_poll_shows_input_and_result(server: ServerProcess, completed_id: str, failed_id: str) -> None:
    assert server.job(completed_id)["input"] == {"steps": 3}
    assert server.job(completed_id)["result"] == {"steps": 3}
    failed = server.job(failed_id)
    assert failed["result"] is None
    assert failed["error"] == {"type": "no-luck", "title": "No luck", "detail": "tomorrow", "status": 409}


def test_a_result_is_in_the_poll_up_to_64_kib(server: ServerProcess) -> None:
    fits, too_big = ended(server, "big-result", {"steps": 65_534}), ended(server, "big-result", {"steps": 65_535})
    assert len(server.job(fits)["result"]) == 65_534
    assert server.job(too_big)["result"] is None
    assert len(server.request("GET", f"/jobs/{too_big}/result").json) == 65_535


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("{etag}", 304),
        ("{strong}", 304),
        ("*", 304),
        (" * ", 304),
        ('"other", {etag}', 304),
        ('"other",{strong},W/"more"', 304),
        ('"other"', 200),
        ('"*"', 200),
        ("{bare}", 200),
        ("garbage", 200),
    ],
)
def test_if_none_match_compares_weakly(server: ServerProcess, completed_id: str, condition: str, status: int) -> None:
    etag = server.request("GET", f"/jobs/{completed_id}").headers["ETag"]
    strong = etag.removeprefix("W/")
    held = condition.format(etag=etag, strong=strong, bare=strong.strip('"'))
    reply = send(server, "GET", f"/jobs/{completed_id}", [("If-None-Match", held)])
    assert (reply.status, reply.headers["ETag"]) == (status, etag)
    assert bool(reply.body) == (status == 200)
    assert "Retry-After" not in reply.headers


def test_a_304_in_progress_says_when_to_come_back(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    etag = server.request("GET", f"/jobs/{job_id}").headers["ETag"]
    reply = send(server, "GET", f"/jobs/{job_id}", [("If-None-Match", etag)])
    assert (reply.status, reply.body, reply.headers["ETag"]) == (304, b"", etag)
    assert int(reply.headers["Retry-After"]) >= 1
    server.request("DELETE", f"/jobs/{job_id}")
    assert send(server, "GET", f"/jobs/{job_id}", [("If-None-Match", etag)]).status == 200


def test_a_queue_position_counts_from_one(serving: Serving) -> None:
    server = serving(":memory:", "--max-tasks", "1")
    running(server)
    positions = [
        server.request("POST", "/jobs/noop", {}).json["queuePosition"],
        server.request("POST", "/jobs/noop", {}).json["queuePosition"],
    ]
    assert positions == [1, 2]
    assert server.job(server.submit("noop", query=LATER))["queuePosition"] is None


# Lists


@pytest.fixture(scope="module")
def listed(server: ServerProcess) -> list[str]:
    """Seven jobs of one label, newest first: five completed, one failed, one that waits."""
    label = "?label=list%20%26%20%C3%BC"
    ids = [ended(server, "noop", query=label) for _ in range(5)]
    ids.append(ended(server, "fails", {"text": ""}, label))
    ids.append(server.submit("noop", query=f"{label}&{LATER[1:]}"))
    return ids[::-1]


def test_a_list_is_newest_first(server: ServerProcess, listed: list[str]) -> None:
    reply = server.request("GET", "/jobs?label=list%20%26%20%C3%BC")
    assert (reply.status, reply.json["nextCursor"]) == (200, None)
    assert "Link" not in reply.headers
    assert [job["jobId"] for job in reply.json["jobs"]] == listed
    for job in reply.json["jobs"]:
        assert_representation(job)


def test_a_list_has_pages_that_link_to_the_next(server: ServerProcess, listed: list[str]) -> None:
    path, pages = "/jobs?label=list%20%26%20%C3%BC&limit=3", []
    while True:
        reply = server.request("GET", path)
        pages.append([job["jobId"] for job in reply.json["jobs"]])
        link = reply.headers.get("Link")
        assert (link is None) == (reply.json["nextCursor"] is None)
        if link is None:
            break
        assert link.endswith('>; rel="next"')
        path = link[1:].partition(">")[0]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert list(itertools.chain(*pages)) == listed


def test_a_page_stays_as_it_was_when_newer_jobs_come(server: ServerProcess, listed: list[str]) -> None:
    first = server.request("GET", "/jobs?limit=1&label=list%20%26%20%C3%BC").json
    newer = server.submit("noop", query=f"?label=list%20%26%20%C3%BC&{LATER[1:]}")
    path = f"/jobs?limit=1&label=list%20%26%20%C3%BC&cursor={first['nextCursor']}"
    assert [job["jobId"] for job in server.request("GET", path).json["jobs"]] == listed[1:2]
    server.request("DELETE", f"/jobs/{newer}?purge=true")


def test_a_list_can_be_filtered(server: ServerProcess, listed: list[str]) -> None:
    def found(query: str) -> list[str]:
        jobs = server.request("GET", f"/jobs?label=list%20%26%20%C3%BC&{query}").json["jobs"]
        return [job["jobId"] for job in jobs]

    waiting, failed, *completed = listed
    assert found("status=queued") == [waiting]
    assert found("status=failed,queued") == [waiting, failed]
    assert found("type=noop") == [waiting, *completed]
    assert found("type=noop,fails&status=completed,failed") == [failed, *completed]
    assert found("type=unknown") == []
    third = server.job(listed[2])["createdAt"]
    assert found(f"createdAfter={third}") == listed[:2]
    assert found(f"createdBefore={third}") == listed[3:]
    assert found("createdAfter=0001-01-01T00:00:00Z&createdBefore=9999-12-31T23:59:59Z") == listed


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("createdAt", "abc"),
        ("-createdAt", "cba"),
        ("-updatedAt", "cba"),
        ("updatedAt", "abc"),
        ("priority", "bca"),
        ("-priority", "acb"),
        ("completedAt", ""),
    ],
)
def test_a_list_is_sorted_as_asked_for_on_all_its_pages(
    server: ServerProcess, ranked: dict[str, str], sort: str, expected: str
) -> None:
    path, found = f"/jobs?label=ranked&sort={sort}&limit=2", ""
    while path:
        reply = server.request("GET", path)
        found += "".join(ranked[job["jobId"]] for job in reply.json["jobs"])
        path = reply.headers.get("Link", "<>")[1:].partition(">")[0]
    assert found == expected


@pytest.fixture(scope="module")
def ranked(server: ServerProcess) -> dict[str, str]:
    """Jobs that wait, by their ids."""
    query = f"{LATER}&label=ranked&priority="
    return {
        server.submit("noop", query=f"{query}{priority}"): name for name, priority in zip("abc", (9, 0, 5), strict=True)
    }


def test_a_cursor_of_a_list_with_another_order_is_refused(server: ServerProcess, ranked: dict[str, str]) -> None:
    cursor = server.request("GET", "/jobs?label=ranked&sort=priority&limit=1").json["nextCursor"]
    refused = server.request("GET", f"/jobs?label=ranked&limit=1&cursor={cursor}")
    assert_problem(refused, 422, "validation-failed", "/cursor")
    assert (
        refused.json["detail"] == "belongs to a list that is sorted by priority, and this one is sorted by -createdAt"
    )


def test_a_list_finds_jobs_by_their_metadata(server: ServerProcess) -> None:
    given = {"list.order": "4711, 4712", "customer": "Ada & Ä"}
    both, one = (
        server.request("POST", "/jobs", {"type": "noop", "metadata": metadata}).json["jobId"]
        for metadata in (given, {"list.order": "4711, 4712"})
    )

    def found(query: str) -> list[str]:
        return [job["jobId"] for job in server.request("GET", f"/jobs?{query}").json["jobs"]]

    order = "metadata.list.order=4711,%204712"
    assert found(order) == [one, both]
    assert found(f"{order}&metadata.customer=Ada%20%26%20%C3%84") == [both]
    assert found(f"{order}&metadata.customer=") == []
    assert found(f"{order}&type=fails") == []


def test_a_list_is_searched_by_words_of_labels_and_messages(server: ServerProcess) -> None:
    job_id = ended(server, "says", {"text": "Ünique words, said"}, "?label=A%20list%20to%20search")
    for query in ("%C3%9Cnique", "%C3%BCNI*", "list%20words", "search%20li*&type=says"):
        listed = server.request("GET", f"/jobs?q={query}").json["jobs"]
        assert [job["jobId"] for job in listed] == [job_id]
    assert server.request("GET", "/jobs?q=%C3%BCni%20words").json["jobs"] == []


def test_a_list_knows_when_jobs_were_updated(server: ServerProcess, listed: list[str]) -> None:
    third = server.job(listed[2])["updatedAt"]
    found = server.request("GET", f"/jobs?label=list%20%26%20%C3%BC&updatedAfter={third}&sort=updatedAt").json["jobs"]
    assert [job["jobId"] for job in found] == listed[1::-1]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("sort=label", "/sort"),
        ("sort=%2BcreatedAt", "/sort"),
        ("q=", "/q"),
        ("q=*%20-", "/q"),
        (f"q={'a' * 201}", "/q"),
        ("q=1%202%203%204%205%206%207%208%209%2010%2011", "/q"),
        ("metadata=%7B%22a%22:%22b%22%7D", "/metadata"),
        ("metadata.a=b&metadata.a=c", "/metadata.a"),
        ("metadata.a%20b=c", "/metadata/a b/[key]"),
        ("metadata.=c", "/metadata//[key]"),
        (f"metadata.a={'b' * 201}", "/metadata/a"),
        ("&".join(f"metadata.a{number}=b" for number in range(21)), "/metadata"),
        ("limit=201", "/limit"),
        ("limit=many", "/limit"),
        ("limit=99999999999999999999999", "/limit"),
        ("status=done", "/status/0"),
        ("cursor=x", "/cursor"),
        ("cursor=", "/cursor"),
        ("createdAfter=yesterday", "/createdAfter"),
        ("createdAfter=1700000000", "/createdAfter"),
        ("createdAfter=2026-01-01", "/createdAfter"),
        ("createdAfter=2026-01-01T00:00:00", "/createdAfter"),
        ("createdAfter=2026-02-30T00:00:00Z", "/createdAfter"),
        ("createdAfter=9999-12-31T23:59:59.999Z", "/createdAfter"),
        ("createdBefore=9999-12-31T23:59:59-10:00", "/createdBefore"),
        ("createdBefore=0001-01-01T00:00:00%2B10:00", "/createdBefore"),
        ("label=a&label=b", "/label"),
        ("surprise=1", "/surprise"),
        ("created_after=2026-01-01T00:00:00Z", "/created_after"),
    ],
    ids=lambda value: value[:30],
)
def test_a_list_refuses_odd_filters(server: ServerProcess, query: str, pointer: str) -> None:
    assert_problem(server.request("GET", f"/jobs?{query}"), 422, "validation-failed", pointer)


def test_a_list_takes_its_limits(server: ServerProcess, listed: list[str]) -> None:
    assert len(server.request("GET", "/jobs?limit=1").json["jobs"]) == 1
    assert len(server.request("GET", "/jobs?limit=200").json["jobs"]) >= len(listed)


def test_a_list_shows_fifty_by_default(serving: Serving) -> None:
    server = serving()
    for _ in range(51):
        server.submit("noop", query=LATER)
    page = server.request("GET", "/jobs").json
    assert len(page["jobs"]) == 50
    assert len(server.request("GET", f"/jobs?cursor={page['nextCursor']}").json["jobs"]) == 1


def test_stats_count_by_status_and_type(serving: Serving) -> None:
    server = serving()
    assert server.request("GET", "/jobs/stats").json["total"] == 0
    ended(server, "noop")
    ended(server, "fails", {"text": ""})
    purged = ended(server, "noop")
    server.submit("noop", query=LATER)
    running(server)
    assert server.request("DELETE", f"/jobs/{purged}?purge=true").status == 204
    stats = server.request("GET", "/jobs/stats").json
    assert stats["total"] == 4
    assert stats["byStatus"] == {"queued": 1, "running": 1, "completed": 1, "failed": 1, "cancelled": 0}
    assert stats["byType"].keys() == {"noop", "fails", "steps-async"}
    assert stats["byType"]["noop"] == {"queued": 1, "running": 0, "completed": 1, "failed": 0, "cancelled": 0}


def test_job_types_say_what_they_take_and_whether_they_run(server: ServerProcess) -> None:
    types = {job_type["name"]: job_type for job_type in server.request("GET", "/job-types").json["jobTypes"]}
    walk = types["one-at-a-time"]
    assert walk.keys() == {
        *("name", "title", "description", "path", "inputSchema", "outputSchema", "uploads", "limits"),
        *("available", "unavailableReason"),
    }
    assert walk["limits"] == {
        "maxAttempts": 1,
        "timeoutSeconds": None,
        "concurrency": 1,
        "retainSeconds": None,
        "memoryMib": None,
        "cpuSeconds": None,
        "maxOutputMib": None,
        "maxPids": None,
    }
    assert walk["inputSchema"]["properties"].keys() == {"steps", "step_s"}
    assert (walk["outputSchema"], walk["available"], walk["unavailableReason"]) == ({"type": "integer"}, True, None)
    assert types["reads-upload"]["uploads"] == ["document", "cover"]
    never = types["never-available"]
    assert (never["available"], never["unavailableReason"]) == (False, "the moon is not full")


# Logs and results


def test_logs_come_oldest_first_and_in_pages(server: ServerProcess, completed_id: str) -> None:
    reply = server.request("GET", f"/jobs/{completed_id}/logs")
    lines = reply.json["lines"]
    assert (reply.status, reply.json["nextAfter"]) == (200, None)
    assert [line["message"] for line in lines] == ["step 1", "step 2", "step 3"]
    assert lines[0].keys() == {"seq", "at", "level", "message"}
    seqs = [line["seq"] for line in lines]
    assert seqs == sorted(set(seqs))
    page = server.request("GET", f"/jobs/{completed_id}/logs?limit=2").json
    assert (page["lines"], page["nextAfter"]) == (lines[:2], seqs[1])
    rest = server.request("GET", f"/jobs/{completed_id}/logs?limit=2&after={page['nextAfter']}").json
    assert (rest["lines"], rest["nextAfter"]) == (lines[2:], None)
    assert server.request("GET", f"/jobs/{completed_id}/logs?after=999999999").json["lines"] == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("after=-1", "/after"),
        ("after=x", "/after"),
        ("after=1.5", "/after"),
        ("after=99999999999999999999", "/after"),
        ("limit=0", "/limit"),
        ("limit=1001", "/limit"),
        ("before=5", "/before"),
    ],
)
def test_logs_refuse_odd_options(server: ServerProcess, completed_id: str, query: str, pointer: str) -> None:
    assert_problem(server.request("GET", f"/jobs/{completed_id}/logs?{query}"), 422, "validation-failed", pointer)


def test_too_many_log_lines_are_counted_not_kept(server: ServerProcess) -> None:
    job_id = ended(server, "chatty", {"steps": 5_000})
    lines = server.request("GET", f"/jobs/{job_id}/logs?limit=1000").json["lines"]
    messages = [line["message"] for line in lines]
    kept = [message for message in messages if message.startswith("line ")]
    dropped = [int(message.split()[0].replace(",", "")) for message in messages if "too many" in message]
    assert dropped
    assert len(kept) + sum(dropped) == 5_000


def test_a_result_is_what_the_handler_returned(server: ServerProcess, completed_id: str) -> None:
    reply = server.request("GET", f"/jobs/{completed_id}/result")
    assert (reply.status, reply.json) == (200, {"steps": 3})
    assert reply.headers["Content-Type"] == "application/json"
    assert server.request("GET", f"/jobs/{ended(server, 'noop')}/result").json is None


def test_a_result_is_a_conflict_before_the_end(server: ServerProcess) -> None:
    job_id = running(server)
    reply = server.request("GET", f"/jobs/{job_id}/result")
    assert_problem(reply, 409, "not-finished")
    assert int(reply.headers["Retry-After"]) >= 1
    assert server.request("DELETE", f"/jobs/{job_id}").status == 204
    problem = assert_problem(server.request("GET", f"/jobs/{job_id}/result"), 410, "gone")
    assert problem["detail"] == "The job was cancelled."


def test_the_result_of_a_failed_job_is_an_http_error_with_the_status_of_the_failure(
    server: ServerProcess, failed_id: str
) -> None:
    problem = assert_problem(server.request("GET", f"/jobs/{failed_id}/result"), 409, "job-failed")
    assert problem["jobError"] == server.job(failed_id)["error"]


@pytest.mark.parametrize("job_type", ["raises", "raises-async"])
def test_the_result_of_a_job_that_crashed_is_a_500(server: ServerProcess, job_type: str) -> None:
    reply = server.request("GET", f"/jobs/{ended(server, job_type, {'text': 'x'})}/result")
    assert assert_problem(reply, 500, "job-failed")["jobError"]["type"] == "handler-error"


@pytest.mark.parametrize(
    ("status", "shown"),
    [(400, 400), (404, 404), (429, 429), (503, 503), (599, 599), (401, 422), (405, 422), (407, 422), (426, 422)],
)
def test_the_status_of_a_failure_is_that_of_its_result_unless_it_asks_something_of_the_client(
    server: ServerProcess, status: int, shown: int
) -> None:
    """A 401 names a way to sign in, for example, and there is none that would help."""
    reply = server.request("GET", f"/jobs/{ended(server, 'fails-with', {'status': status})}/result")
    assert assert_problem(reply, shown, "job-failed")["jobError"]["status"] == status
    assert "Retry-After" not in reply.headers


def test_an_error_that_nobody_foresaw_shows_no_traceback(server: ServerProcess) -> None:
    job = server.job(ended(server, "raises", {"text": "secret path"}))
    assert job["error"]["status"] == 500
    assert "Traceback" not in str(job)
    assert ".py" not in str(job["error"])


# Every endpoint

READABLE = (
    *("/", "/static/app.js", "/healthz", "/readyz", "/openapi.json", "/job-types", "/jobs", "/jobs/stats"),
    *("/jobs/progress", "/jobs/{id}", "/jobs/{id}/logs", "/jobs/{id}/result", "/jobs/{id}/progress"),
    "/jobs/{id}/attempts",
)


@pytest.mark.parametrize("path", READABLE)
def test_head_answers_like_get_without_a_body(server: ServerProcess, completed_id: str, path: str) -> None:
    path = path.format(id=completed_id)
    head = send(server, "HEAD", path)
    assert (head.status, head.body) == (200, b"")
    if path.endswith("/progress"):
        assert head.headers["Content-Type"] == "text/event-stream"
        return
    get = send(server, "GET", path)
    assert get.body
    each_time_new = {"Date": "", "X-Request-ID": ""}
    assert head.headers | each_time_new == get.headers | each_time_new


MEANT = {("DELETE", "/jobs/{id}/result"), ("PATCH", "/jobs/{id}")}
OTHER = [
    (method, path)
    for method in ("PUT", "PATCH", "TRACE", "DELETE", "POST")
    for path in READABLE
    # Below /jobs a POST or DELETE names a type or a job.
    if (method not in ("DELETE", "POST") or not path.startswith("/jobs") or path.count("/") > 2)
    and (method, path) not in MEANT
]


@pytest.mark.parametrize(("method", "path"), OTHER)
def test_another_method_is_405_and_says_which_are_allowed(
    server: ServerProcess, completed_id: str, path: str, method: str
) -> None:
    reply = send(server, method, path.format(id=completed_id))
    assert_problem(reply, 405, "method-not-allowed")
    assert {"GET", "HEAD", "OPTIONS"} <= set(reply.headers["Allow"].split(","))
    asked = send(server, "OPTIONS", path.format(id=completed_id))
    assert (asked.status, asked.headers["Allow"], asked.body) == (204, reply.headers["Allow"], b"")


@pytest.mark.parametrize("path", ["/nothing", "/jobs/", "//jobs", "/static/", "/static/app.py", "/static/../run.py"])
def test_an_unknown_path_is_a_problem(server: ServerProcess, path: str) -> None:
    assert_problem(send(server, "GET", path), 404, "not-found")


@pytest.mark.parametrize(
    "path", ["/static/%00.js", f"/static/{'a' * 300}.js", "/static/..%2f..%2frun.py", "/static/%2fetc%2fpasswd"]
)
def test_an_odd_path_to_the_page_is_unknown(server: ServerProcess, path: str) -> None:
    assert_problem(send(server, "GET", path), 404, "not-found")


@pytest.mark.parametrize("path", ["", "/logs", "/attempts", "/result", "/progress", "/files/x"])
def test_an_unknown_job_is_404_everywhere(server: ServerProcess, path: str) -> None:
    assert_problem(server.request("GET", f"/jobs/{UNKNOWN}{path}"), 404, "not-found")


@pytest.mark.parametrize(
    "path", ["/jobs/{id}?", "/jobs/{id}/result?", "/jobs/stats?", "/job-types?", "/jobs/{id}/progress?"]
)
@pytest.mark.parametrize("option", ["wait_s=30", "inline=true", "surprise=1"])
def test_an_option_that_means_nothing_is_refused(
    server: ServerProcess, completed_id: str, path: str, option: str
) -> None:
    reply = server.request("GET", path.format(id=completed_id) + option)
    assert_problem(reply, 422, "validation-failed", f"/{option.partition('=')[0]}")


def test_health_and_readiness(server: ServerProcess) -> None:
    for path in ("/healthz", "/readyz"):
        reply = server.request("GET", path)
        assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")


def test_every_answer_is_hardened(server: ServerProcess, completed_id: str) -> None:
    for path in (*READABLE, "/nothing", "/jobs/{id}/files/none"):
        headers = send(server, "HEAD", path.format(id=completed_id)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Server"] == "Headway"
