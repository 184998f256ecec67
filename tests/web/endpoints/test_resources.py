"""A job type with a path of its own: submit, list, read, follow, download, under the type's name."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from headway import BlockingContext, job
from headway.authoring import declaring
from headway.authoring.job_types import Registry
from headway.authoring.loading import load_job_types
from headway.authoring.resources import Reader
from headway.errors import ResourceTimeoutError, SetupError
from headway.service.resources import AuthorCalls
from headway.web.routes import BUILT_IN, check_paths
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from tests.support.process import ServerProcess, multipart
from tests.support.raw import assert_problem
from tests.support.representation import assert_representation
from tests.support.routing import app_with_routes
from tests.support.serving import TEST_JOBS, Serving


def create(server: ServerProcess, path: str, text: str) -> str:
    reply = server.request("POST", path, {"text": text})
    assert reply.status == 202, reply.body
    job_id: str = reply.json["jobId"]
    return job_id


# The jobs as the resource


def test_a_submission_at_the_path_is_one_of_the_type(server: ServerProcess) -> None:
    reply = server.request("POST", "/test/letters?label=mine", {"text": "hello"})
    assert (reply.status, reply.json["type"], reply.json["label"]) == (202, "letters", "mine")
    assert_representation(reply.json)
    assert reply.headers["Location"] == f"/jobs/{reply.json['jobId']}"
    assert int(reply.headers["Retry-After"]) >= 1
    assert_problem(server.request("POST", "/test/letters", {"text": 7}), 422, "validation-failed", "/text")
    assert_problem(server.request("DELETE", "/test/letters"), 405, "method-not-allowed")


def test_a_key_and_a_wish_to_wait_count_at_the_path_too(server: ServerProcess) -> None:
    headers = {"Idempotency-Key": '"a letter"', "Prefer": "wait=30"}
    first = server.request("POST", "/test/letters", {"text": "hello"}, headers)
    assert (first.status, first.json["status"], first.json["result"]) == (200, "completed", {"characters": 5})
    again = server.request("POST", "/test/letters", {"text": "hello"}, {"Idempotency-Key": '"a letter"'})
    assert (again.json["jobId"], again.headers["Idempotency-Replayed"]) == (first.json["jobId"], "true")
    other = server.request("POST", "/test/letters", {"text": "another"}, {"Idempotency-Key": '"a letter"'})
    assert other.status == 422


def test_options_may_stand_beside_the_fields_of_the_body(server: ServerProcess) -> None:
    letter, later = {"text": "hello"}, "2099-01-01T00:00:00.000Z"
    hook = {"webhookUrl": "https://8.8.8.8/hook", "webhookEvents": ["job.failed"]}
    beside = {"label": "mine", "priority": 7, "runAt": later, **hook}
    key = {"Idempotency-Key": '"beside"'}
    reply = server.request("POST", "/test/letters", {**letter, **beside}, key)
    assert (reply.status, reply.json["label"], reply.json["runAt"]) == (202, "mine", later), reply.body
    assert server.request("GET", reply.json["statusUrl"]).json["input"] == letter
    in_query = (
        f"/test/letters?label=mine&priority=7&runAt={later}&webhookUrl=https://8.8.8.8/hook&webhookEvents=job.failed"
    )
    again = server.request("POST", in_query, letter, key)
    assert again.json["jobId"] == reply.json["jobId"], "it is the same request"
    body, content_type = multipart({}, {**letter, "runAt": later})
    form = server.request("POST", "/test/letters?label=form", body, {"Content-Type": content_type})
    assert (form.status, form.json["label"], form.json["runAt"]) == (202, "form", later), form.body


@pytest.mark.parametrize(
    ("query", "beside", "pointer"),
    [
        ("", {"priority": "7"}, "/priority"),  # JSON has numbers
        ("", {"webhookEvents": "job.failed"}, "/webhookEvents"),  # and arrays
        ("", {"webhookUrl": "http://127.0.0.1/"}, "/webhookUrl"),
        ("", {"run_at": "2099-01-01T00:00:00Z"}, "/run_at"),
        ("?label=one", {"label": "other"}, "/label"),
    ],
)
def test_an_option_in_the_body_is_checked_as_elsewhere(
    server: ServerProcess, query: str, beside: dict[str, Any], pointer: str
) -> None:
    reply = server.request("POST", f"/test/letters{query}", {"text": "hello", **beside})
    assert_problem(reply, 422, "validation-failed", pointer)


def test_a_field_that_is_named_like_an_option_is_a_field(serving: Serving, tmp_path: Path) -> None:
    jobs = tmp_path / "parcel_jobs.py"
    jobs.write_text(
        "from headway import Context, job\nfrom pydantic import BaseModel\n"
        "class Parcel(BaseModel):\n    label: str\n"
        "@job('parcel', path='/parcels')\nasync def parcel(ctx: Context, input: Parcel) -> str:\n"
        "    return input.label\n"
    )
    server = serving(":memory:", "--jobs", str(jobs))
    reply = server.request("POST", "/parcels", {"label": "fragile", "priority": 1}, {"Prefer": "wait=30"})
    assert (reply.json["result"], reply.json["label"]) == ("fragile", None)
    content = server.request("GET", "/openapi.json").json["paths"]["/parcels"]["post"]["requestBody"]["content"]
    properties = content["application/json"]["schema"]["properties"]
    assert properties["label"] == {"title": "Label", "type": "string"}
    assert {"priority", "runAt", "webhookUrl"} < properties.keys()
    assert_problem(
        server.request("POST", "/jobs/parcel", {"label": "x", "priority": 1}), 422, "validation-failed", "/priority"
    )


def test_a_finished_job_is_its_result(server: ServerProcess) -> None:
    job_id = create(server, "/test/letters", "hello")
    job = server.wait_for(job_id)
    assert job["resultUrl"] == f"/jobs/{job_id}/result"
    reply = server.request("GET", f"/test/letters/{job_id}")
    assert (reply.status, reply.json) == (200, {"characters": 5})
    assert reply.body == server.request("GET", f"/jobs/{job_id}/result").body


def test_an_unfinished_failed_or_cancelled_job_is_an_error_as_for_its_result(server: ServerProcess) -> None:
    running = create(server, "/test/letters", "later")
    for below in ("", "/download"):
        early = server.request("GET", f"/test/letters/{running}{below}")
        assert_problem(early, 409, "not-finished")
        assert int(early.headers["Retry-After"]) >= 1
    failed = create(server, "/test/letters", "lost")
    server.wait_for(failed)
    server.request("DELETE", f"/jobs/{running}")
    server.wait_for(running, "cancelled")
    for below in ("", "/download"):
        problem = server.request("GET", f"/test/letters/{failed}{below}")
        assert_problem(problem, 422, "job-failed")
        assert problem.json["jobError"]["title"] == "Lost"
        assert_problem(server.request("GET", f"/test/letters/{running}{below}"), 410, "gone")


def test_the_status_is_the_job_with_its_etag(server: ServerProcess) -> None:
    job_id = create(server, "/test/letters", "later")
    server.wait_for(job_id, "running")
    running = server.request("GET", f"/test/letters/{job_id}/status")
    assert running.status == 202
    assert int(running.headers["Retry-After"]) >= 1  # more, the longer the job has been running
    assert_representation(running.json, detail=True)
    server.request("DELETE", f"/jobs/{job_id}")
    server.wait_for(job_id)
    ended = server.request("GET", f"/test/letters/{job_id}/status")
    assert (ended.status, ended.json["status"], ended.headers["Retry-After"]) == (200, "cancelled", None)
    held = {"If-None-Match": ended.headers["ETag"]}
    assert server.request("GET", f"/test/letters/{job_id}/status", headers=held).status == 304


def test_the_download_is_the_first_file_or_the_one_that_is_named(server: ServerProcess) -> None:
    job_id = create(server, "/test/letters", "hello")
    server.wait_for(job_id)
    first = server.request("GET", f"/test/letters/{job_id}/download")
    assert (first.status, first.body) == (200, b"hello")
    assert first.headers["Content-Disposition"].startswith('attachment; filename="letter.txt"')
    named = server.request("GET", f"/test/letters/{job_id}/download?name=reply.html&inline=true")
    assert (named.body, named.headers["Content-Type"]) == (b"<p>hello</p>", "text/html")
    assert named.headers["Content-Disposition"].startswith("inline")
    assert "sandbox" in named.headers["Content-Security-Policy"]
    part = server.request("GET", f"/test/letters/{job_id}/download", headers={"Range": "bytes=1-2"})
    assert (part.status, part.body) == (206, b"el")
    assert_problem(server.request("GET", f"/test/letters/{job_id}/download?name=../x"), 404, "not-found")


def test_a_job_without_files_has_no_download_and_a_deleted_one_is_gone(server: ServerProcess) -> None:
    spoken, written = create(server, "/test/letters", "spoken"), create(server, "/test/letters", "written")
    server.wait_for(spoken)
    server.wait_for(written)
    assert_problem(server.request("GET", f"/test/letters/{spoken}/download"), 404, "not-found")
    assert server.request("DELETE", f"/jobs/{written}/result").status == 204
    assert_problem(server.request("GET", f"/test/letters/{written}/download"), 410, "gone")
    assert_problem(server.request("GET", f"/test/letters/{written}"), 410, "gone")


def test_another_types_job_is_not_here(server: ServerProcess) -> None:
    job_id = server.submit("noop")
    server.wait_for(job_id)
    for below in ("", "/status", "/download"):
        assert_problem(server.request("GET", f"/test/letters/{job_id}{below}"), 404, "not-found")
        assert_problem(server.request("GET", f"/test/letters/a%2fb{below}"), 404, "not-found")


def test_the_list_shows_the_types_jobs_in_pages(serving: Serving) -> None:
    server = serving()
    server.submit("noop")
    ids = [create(server, "/test/letters", "hello") for _ in range(3)]
    first = server.request("GET", "/test/letters?limit=2")
    assert [job["jobId"] for job in first.json["jobs"]] == ids[:0:-1]
    following = first.headers["Link"].removeprefix("<").partition(">")[0]
    assert following.startswith("/test/letters?")
    assert [job["jobId"] for job in server.request("GET", following).json["jobs"]] == ids[:1]
    assert_problem(server.request("GET", "/test/letters?type=noop"), 422, "validation-failed", "/type")


# A resource that is more than a result


@pytest.mark.parametrize("path", ["/test/notes", "/test/memos"])
def test_the_handler_says_where_its_result_is(server: ServerProcess, path: str) -> None:
    job_id = create(server, path, "remember")
    job = server.wait_for(job_id)
    assert job["resultUrl"].startswith(f"{path}/")
    found = server.request("GET", job["resultUrl"])
    assert found.status == 200
    assert found.json == "remember" or found.json["text"] == "remember"
    listed = server.request("GET", path)
    assert listed.status == 200
    assert found.json in (listed.json if isinstance(listed.json, list) else listed.json.values())
    assert server.request("GET", f"{path}/{job_id}/status").json["resultUrl"] == job["resultUrl"]


def test_where_the_result_is_survives_a_restart_and_the_results_deletion(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    job_id = create(server, "/test/notes", "kept")
    url = server.wait_for(job_id)["resultUrl"]
    assert server.request("DELETE", f"/jobs/{job_id}/result").status == 204
    server.kill()
    server.restart()
    assert server.job(job_id)["resultUrl"] == url
    assert server.request("GET", url).json["text"] == "kept"


def test_what_is_not_there_is_404_and_odd_ids_never_reach_the_author(server: ServerProcess) -> None:
    for id in ("none", "..", "%2e%2e%2fx", "a%2fb", "%00", "a%0a", "%252e", "a%20b", "x" * 300, ".hidden", "%C3%A4"):
        reply = server.request("GET", f"/test/notes/{id}")
        assert_problem(reply, 404, "not-found")
    assert_problem(server.request("GET", "/test/notes/none?x=1"), 422, "validation-failed", "/x")


def test_a_list_takes_the_parameters_that_its_author_names(server: ServerProcess) -> None:
    for _ in range(2):
        server.wait_for(create(server, "/test/notes", "one of many"))
    assert len(server.request("GET", "/test/notes?limit=1").json) == 1
    assert_problem(server.request("GET", "/test/notes?limit=0"), 422, "validation-failed", "/limit")
    assert_problem(server.request("GET", "/test/notes?surprise=1"), 422, "validation-failed", "/surprise")
    assert_problem(server.request("GET", "/test/memos?surprise=1"), 422, "validation-failed", "/surprise")


def test_the_location_of_a_type_that_asks_for_it_leads_on(server: ServerProcess) -> None:
    for path in ("/test/notes", "/jobs/notes"):
        reply = server.request("POST", path, {"text": "x"})
        assert reply.headers["Location"] == f"/jobs/{reply.json['jobId']}?redirect=true"
        assert reply.json["statusUrl"] == f"/jobs/{reply.json['jobId']}"


def test_a_client_that_only_follows_headers_ends_up_at_the_resource(server: ServerProcess) -> None:
    location = server.request("POST", "/test/notes", {"text": "followed"}).headers["Location"]
    assert server.request("GET", f"{location}&wait=30").status == 303
    found = server.request("GET", location).headers["Location"]
    assert (found.partition("note-")[0], server.request("GET", found).json["text"]) == ("/test/notes/", "followed")


def test_the_sdks_views_lead_to_the_resource_too(server: ServerProcess) -> None:
    job_id = create(server, "/test/notes", "seen from elsewhere")
    url = server.wait_for(job_id)["resultUrl"]
    whole = f"http://127.0.0.1:{server.port}{url}"  # Azure's SDKs take no paths
    assert server.request("GET", f"/operations/{job_id}").json["resourceLocation"] == whole
    operation = server.request("GET", f"/v1/jobs/operations/{job_id}").json
    assert f'"resultUrl": "{url}"' in json.dumps(operation["response"])


def test_links_are_absolute_where_the_public_url_is_known(serving: Serving) -> None:
    server = serving(":memory:", "--insecure", env={"HEADWAY_PUBLIC_URL": "https://example.org/x"})
    first, second = create(server, "/test/notes", "a"), create(server, "/test/letters", "a")
    create(server, "/test/letters", "b")
    assert server.wait_for(first)["resultUrl"].startswith("https://example.org/x/test/notes/")
    assert server.wait_for(second)["resultUrl"] == f"https://example.org/x/jobs/{second}/result"
    link = server.request("GET", "/test/letters?limit=1").headers["Link"]
    assert link.startswith("<https://example.org/x/test/letters?limit=1&cursor=")
    elsewhere = server.submit("misleads", {"text": "https://example.com/report"})
    assert server.wait_for(elsewhere)["resultUrl"] == "https://example.com/report"


@pytest.mark.parametrize("url", ["//example.org", "/a b"])
def test_a_handler_that_would_mislead_has_failed(server: ServerProcess, url: str) -> None:
    job = server.wait_for(server.submit("misleads", {"text": url}))
    assert (job["status"], job["resultUrl"]) == ("failed", None)
    assert "result_url must be a path" in job["error"]["detail"]


def test_an_authors_mistake_is_an_error_without_its_words() -> None:
    with ServerProcess(":memory:", "--jobs", str(TEST_JOBS)) as server:
        for id in ("raises", "exits"):
            reply = server.request("GET", f"/test/notes/{id}")
            assert_problem(reply, 500, "internal-error")
            assert b"secret" not in reply.body
        assert server.request("GET", "/healthz").status == 200
        assert "a secret" in server.log()


def test_the_paths_respond_as_the_description_says(server: ServerProcess) -> None:
    document = server.request("GET", "/openapi.json").json
    letter, note = create(server, "/test/letters", "hello"), create(server, "/test/notes", "x")
    server.wait_for(letter)
    note_url = server.wait_for(note)["resultUrl"]
    for template, path in (
        ("/test/letters", "/test/letters"),
        ("/test/letters/{id}", f"/test/letters/{letter}"),
        ("/test/letters/{id}/status", f"/test/letters/{letter}/status"),
        ("/test/notes", "/test/notes"),
        ("/test/notes/{key}", note_url),
    ):
        schema = document["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert schema
        answer = server.request("GET", path)
        assert answer.status == 200
        Draft202012Validator(schema | {"components": document["components"]}).validate(answer.json)
    parameters = document["paths"]["/test/notes"]["get"]["parameters"]
    assert [(each["name"], each["schema"]["maximum"]) for each in parameters if "name" in each] == [("limit", 50)]
    types = {job_type["name"]: job_type["path"] for job_type in server.request("GET", "/job-types").json["jobTypes"]}
    assert (types["letters"], types["noop"]) == ("/test/letters", None)


# The authors' functions


async def test_a_function_that_hangs_is_given_up_and_the_next_one_still_runs() -> None:
    may_end = threading.Event()
    hangs = Reader(may_end.wait, is_async=False, query_type=None, output=TypeAdapter(bool), optional=True)
    answers = Reader(lambda: True, is_async=False, query_type=None, output=TypeAdapter(bool), optional=True)
    calls = AuthorCalls(limit_s=0.05, at_once=1)
    with pytest.raises(ResourceTimeoutError) as raised:
        await calls.read(hangs)
    assert raised.value.retry_after_s == 5
    with pytest.raises(ResourceTimeoutError):  # its thread is still taken
        await calls.read(answers)
    may_end.set()
    calls._limit_s = 30.0
    assert await calls.read(answers) == b"true"


@pytest.mark.parametrize("path", [*BUILT_IN, "/jobs/x", "/v1", "/static/reports", "/v1/jobs/operations"])
def test_no_resource_may_have_one_of_the_servers_own_paths(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declaring, "_declared", {})

    @job("report", path=path)
    def report(ctx: BlockingContext) -> None: ...

    with pytest.raises(SetupError, match=f"report: the path {path} is taken: .* the server's own"):
        check_paths(load_job_types([report]))


def test_the_servers_own_paths_are_all_reserved() -> None:
    app = app_with_routes(Registry([]))
    for resource in app.router.resources():
        path = resource.canonical
        assert path == "/" or any(f"{path}/".startswith(f"{own}/") for own in BUILT_IN), path
