"""Google's own operations client (`google.api_core.operations_v1`, over REST) polls, lists, cancels and deletes jobs,
through a proxy with a path prefix.
"""

import importlib.metadata
import itertools
from typing import Any

import pytest
from google.api_core import exceptions, operation, operations_v1
from google.auth.credentials import AnonymousCredentials
from google.protobuf import json_format, struct_pb2  # type: ignore[import-untyped]

from tests.support.client_table import assert_in_the_table
from tests.support.process import WAIT_TIMEOUT_S, ServerProcess
from tests.support.proxy import PrefixProxy
from tests.support.raw import assert_problem, send
from tests.support.serving import LATER, UNKNOWN, ended

CANCELLED = 1


@pytest.fixture
def client(proxy: PrefixProxy, published: ServerProcess) -> Any:
    transport: Any = operations_v1.OperationsRestTransport(
        host=f"http://{proxy.host}",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        path_prefix=f"{proxy.prefix}/v1".lstrip("/"),
    )
    return operations_v1.AbstractOperationsClient(transport=transport)


def name_of(job_id: str) -> str:
    return f"jobs/operations/{job_id}"


def fields(any: Any) -> Any:
    """The content of a `google.protobuf.Any` that holds a `Struct`."""
    struct = struct_pb2.Struct()
    assert any.Unpack(struct)
    return json_format.MessageToDict(struct)


def future_of(client: Any, job_id: str) -> Any:
    """The SDK's future, which polls until the operation is done."""
    first = client.get_operation(name_of(job_id))
    return operation.from_gapic(first, client, struct_pb2.Struct, grpc_metadata=())  # type: ignore[no-untyped-call]


def test_the_sdks_future_polls_until_it_is_done(client: Any, published: ServerProcess, proxy: PrefixProxy) -> None:
    job_id = published.submit("steps-process", {"steps": 30, "step_s": 0.05})
    future = future_of(client, job_id)
    result = json_format.MessageToDict(future.result(timeout=WAIT_TIMEOUT_S))
    assert result == {"result": {"steps": 30}, "resultUrl": f"{proxy.url}/jobs/{job_id}/result"}
    assert future.done()
    assert_in_the_table("google-api-core", importlib.metadata.version("google-api-core"))


def test_metadata_is_the_jobs_representation(client: Any, published: ServerProcess) -> None:
    job_id = published.submit("noop", query=LATER)
    queued = client.get_operation(name_of(job_id))
    assert (queued.name, queued.done) == (name_of(job_id), False)
    shown = fields(queued.metadata)
    job = published.job(job_id)
    assert shown == {name: job[name] for name in shown}
    assert job.keys() - shown.keys() == {"input", "result"}
    published.request("DELETE", f"/jobs/{job_id}")


def test_a_failure_is_an_exception_of_its_kind(client: Any, published: ServerProcess) -> None:
    future = future_of(client, ended(published, "fails", {"text": "tomorrow"}))
    failure = future.exception(timeout=WAIT_TIMEOUT_S)
    assert isinstance(failure, exceptions.Aborted)  # the job said 409
    assert "No luck: tomorrow" in str(failure)
    unforeseen = future_of(client, ended(published, "raises", {"text": "tomorrow"}))
    assert isinstance(unforeseen.exception(timeout=WAIT_TIMEOUT_S), exceptions.InternalServerError)


def test_the_sdk_cancels(client: Any, published: ServerProcess) -> None:
    queued, running = published.submit("noop", query=LATER), published.submit("steps-async", {"steps": 1, "step_s": 60})
    published.wait_for(running, "running")
    for job_id in (queued, running):
        future = future_of(client, job_id)
        assert future.cancel()
        assert isinstance(future.exception(timeout=WAIT_TIMEOUT_S), exceptions.Cancelled)
        assert published.job(job_id)["status"] == "cancelled"
        client.cancel_operation(name_of(job_id))
        assert client.get_operation(name_of(job_id)).error.code == CANCELLED
    completed = ended(published, "noop")
    client.cancel_operation(name_of(completed))  # too late is no error: what became of it, the operation says
    assert published.job(completed)["status"] == "completed"


def test_the_sdk_deletes_what_has_ended_and_only_that(client: Any, published: ServerProcess) -> None:
    job_id = published.submit("noop", query=LATER)
    with pytest.raises(exceptions.Conflict, match="cancel it first"):
        client.delete_operation(name_of(job_id))
    assert published.job(job_id)["status"] == "queued"
    client.cancel_operation(name_of(job_id))
    client.delete_operation(name_of(job_id))
    assert published.request("GET", f"/jobs/{job_id}").status == 404
    for call in (client.get_operation, client.cancel_operation, client.delete_operation):
        with pytest.raises(exceptions.NotFound, match="There is no such job"):
            call(name_of(job_id))


def test_the_sdk_lists_page_by_page(client: Any, published: ServerProcess) -> None:
    ids = [ended(published, "says", {"text": str(number)}) for number in range(5)]
    pages = client.list_operations("jobs", "", page_size=2)
    listed = list(itertools.islice(pages, 5))
    assert [found.name for found in listed] == [name_of(job_id) for job_id in reversed(ids)]
    assert all(found.done for found in listed)
    assert fields(listed[0].response).keys() == {"resultUrl"}
    everything = client.list_operations("jobs", "")
    assert {name_of(job_id) for job_id in ids} <= {found.name for found in everything}


def test_a_filter_is_refused_in_words_that_the_sdk_knows(client: Any) -> None:
    with pytest.raises(exceptions.BadRequest, match="should have at most 0 characters"):
        client.list_operations("jobs", "done = true")


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("?pageSize=-1", "/pageSize"),
        ("?pageSize=many", "/pageSize"),
        ("?pageToken=nothing", "/pageToken"),
        ("?filter=done", "/filter"),
        ("?surprise=1", "/surprise"),
        (f"/{UNKNOWN}?surprise=1", "/surprise"),
    ],
)
def test_an_odd_argument_is_a_400(published: ServerProcess, path: str, pointer: str) -> None:
    problem = assert_problem(send(published, "GET", f"/v1/jobs/operations{path}"), 400, "malformed-request", pointer)
    assert problem["error"].keys() == {"code", "message", "status"}
    assert (problem["error"]["code"], problem["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_a_page_holds_at_most_200(published: ServerProcess) -> None:
    reply = published.request("GET", "/v1/jobs/operations?pageSize=2147483647")
    assert reply.status == 200
    assert reply.json["nextPageToken"] == ""
    assert len(reply.json["operations"]) <= 200
