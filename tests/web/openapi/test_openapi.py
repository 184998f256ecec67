"""`/openapi.json` says what the server does: the document is valid, complete, and real responses match it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from headway.app.bundled import SAMPLES
from headway.authoring.loading import load_job_types
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.process import ServerProcess, multipart
from tests.support.representation import DETAIL_FIELDS, FIELDS
from tests.support.routing import app_with_routes
from tests.support.serving import TEST_JOBS


@pytest.fixture(scope="module")
def document(server: ServerProcess) -> Any:
    reply = server.request("GET", "/openapi.json")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    return reply.json


def test_the_document_is_valid(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_reference_points_at_something(document: Any) -> None:
    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for value in part.values():
                yield from references(value)
        elif isinstance(part, list):
            for value in part:
                yield from references(value)

    found = set(references(document))
    assert "#/components/schemas/nested-input.Line" in found
    for reference in found:
        target = document
        for key in reference.removeprefix("#/").split("/"):
            target = target[key]


def test_every_request_and_response_in_json_has_examples_which_fit(document: Any) -> None:
    """Only a job type's author can give examples of its input, and of what its own functions return."""
    checked = 0
    for where, operation in operations(document):
        bodies = {"request": operation["requestBody"]} if "requestBody" in operation else {}
        for name, body in (bodies | operation["responses"]).items():
            for media_type, content in body.get("content", {}).items():
                if media_type not in ("application/json", "application/problem+json"):
                    continue
                values = examples(document, content)
                of_author = (
                    operation["operationId"].startswith(("submit-", "create-"))
                    if name == "request"
                    else (name == "200" and operation["tags"] == ["resources"])
                )
                assert values or of_author, (where, name)
                validator = Draft202012Validator({**content["schema"], "components": document["components"]})
                for value in values:
                    assert list(validator.iter_errors(value)) == [], (where, name)
                    checked += 1
    assert checked > 500


def operations(document: Any) -> Iterator[tuple[str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def examples(document: Any, content: Any) -> list[Any]:
    """Their values, given there or under `components`."""
    named = [example["$ref"].rsplit("/", 1)[1] for example in content.get("examples", {}).values()]
    found = [document["components"]["examples"][name]["value"] for name in named]
    return found + ([content["example"]] if "example" in content else [])


def test_exactly_the_routes_are_described(document: Any) -> None:
    registry = load_job_types([str(TEST_JOBS)], SAMPLES)
    app = app_with_routes(registry)
    routes = {(route.method.lower(), route.resource.canonical) for route in app.router.routes() if route.resource}
    with_get = {path for method, path in routes if method == "get"}  # HEAD is there too
    routes = {(method, path) for method, path in routes if method != "*" and (method != "head" or path not in with_get)}
    described = {(method, path) for path, operations in document["paths"].items() for method in operations}
    assert described == routes


def test_an_operation_has_one_name(document: Any) -> None:
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)


def test_every_link_leads_somewhere(document: Any) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    by_id = {operation["operationId"]: operation for operation in operations}
    answers = [answer for operation in operations for answer in operation["responses"].values()]
    links = [link for answer in answers for link in answer.get("links", {}).values()]
    assert links
    for link in links:
        parameters = {parameter.get("name") for parameter in by_id[link["operationId"]]["parameters"]}
        assert link["parameters"].keys() <= parameters


def test_every_field_of_the_representation_is_in_the_schema(document: Any) -> None:
    schemas = document["components"]["schemas"]
    for name, fields in (("JobView", FIELDS), ("JobDetail", DETAIL_FIELDS)):
        assert schemas[name]["properties"].keys() == fields
        assert set(schemas[name]["required"]) == fields


def test_the_limits_are_published(document: Any) -> None:
    limits = document["x-limits"]
    assert limits["maxBodyBytes"] == 1024 * 1024
    assert limits["maxJsonDepth"] == 32
    assert all(isinstance(value, int | float) for value in limits.values())


def _template(document: Any, path: str) -> str:
    """The described path that a real one belongs to."""
    parts = path.partition("?")[0].split("/")
    if "/".join(parts) in document["paths"]:
        return "/".join(parts)
    parts[2] = "{id}"
    if len(parts) > 4:
        parts[4] = "{name}"
    return "/".join(parts)


def _assert_fits(document: Any, method: str, path: str, status: int, content_type: str, body: bytes) -> None:
    responses = document["paths"][_template(document, path)][method]["responses"]
    answer = responses[str(status)]
    if not body:
        assert "content" not in answer
        return
    schema = answer["content"][content_type]["schema"]
    validator = Draft202012Validator(schema | {"components": document["components"]})
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(json.loads(body))]
    assert not errors, errors


def test_real_answers_fit_their_schemas(server: ServerProcess, document: Any) -> None:
    later = "?runAt=2099-01-01T00:00:00Z&label=schema"
    queued, cancelled = server.submit("noop", query=later), server.submit("noop", query=later)
    server.request("DELETE", f"/jobs/{cancelled}")
    completed, failed = server.submit("writes-files", {"text": "x"}), server.submit("fails", {"text": "x"})
    walked = server.submit("steps-async", {"steps": 3})
    running = server.submit("steps-async", {"steps": 1000, "step_s": 0.05})
    for job_id in (completed, failed, walked):
        server.wait_for(job_id)
    assert any(state["progress"] for state in server.states(running))
    unknown = "01900000-0000-7000-8000-000000000000"
    paths = [f"/jobs/{job_id}" for job_id in (queued, running, completed, failed, cancelled, walked, unknown)]
    paths += [f"{path}{below}" for path in paths for below in ("/result", "/logs", "/attempts")]
    paths += ["/jobs", "/jobs?limit=2", "/jobs?limit=0", "/jobs?limit=%ff", "/jobs/stats", "/job-types"]
    paths += ["/healthz", "/readyz", "/openapi.json", f"/jobs/{walked}?surprise=1", f"/jobs/{completed}/files/none"]
    statuses = set()
    for path in paths:
        reply = server.request("GET", path)
        statuses.add(reply.status)
        _assert_fits(document, "get", path, reply.status, reply.headers["Content-Type"], reply.body)
    assert statuses == {200, 202, 400, 404, 409, 410, 422}
    for path in (f"/jobs/{walked}", f"/jobs/{unknown}", f"/jobs/{queued}", f"/jobs/{running}"):
        reply = server.request("DELETE", path)
        _assert_fits(document, "delete", path, reply.status, reply.headers["Content-Type"], reply.body)


def test_real_submissions_fit_their_schemas(server: ServerProcess, document: Any) -> None:
    body, content_type = multipart({"document": b"hello"}, {"copies": 1})
    for path, sent, headers in (
        ("/jobs/noop", {}, {}),
        ("/jobs", {"type": "noop"}, {}),
        ("/jobs/nested-input", {"points": [{"x": 1}], "next": {"points": []}}, {}),
        ("/jobs/reads-upload", body, {"Content-Type": content_type}),
        ("/jobs/noop", b"{", {"Content-Type": "application/json"}),
        ("/jobs/noop", b"{}", {"Content-Type": "text/plain"}),
        ("/jobs/noop", {"x": 1}, {}),
        ("/jobs", {"type": "never-available"}, {}),
    ):
        reply = server.request("POST", path, sent, headers)
        _assert_fits(document, "post", path, reply.status, reply.headers["Content-Type"], reply.body)


def test_real_answers_to_keys_and_preferences_fit_their_schemas(server: ServerProcess, document: Any) -> None:
    wait = {"Prefer": "wait=30"}
    statuses = []
    for path, sent, headers in (
        ("/jobs/noop", {}, wait),
        ("/jobs/noop", {}, {"Idempotency-Key": '"schema"'}),
        ("/jobs", {"type": "noop"}, {"Idempotency-Key": '"schema"', **wait}),
        ("/jobs/noop?label=x", {}, {"Idempotency-Key": '"schema"'}),
        ("/jobs/noop", {}, {"Idempotency-Key": "schema;"}),
    ):
        reply = server.request("POST", path, sent, headers)
        statuses.append(reply.status)
        _assert_fits(document, "post", path, reply.status, reply.headers["Content-Type"], reply.body)
        described = document["paths"][_template(document, path)]["post"]["responses"][str(reply.status)]["headers"]
        promised = {"Idempotency-Replayed", "Preference-Applied", "Content-Location"}
        assert promised.intersection(reply.headers.keys()) <= described.keys()
    assert statuses == [200, 202, 200, 422, 400]
    key = document["components"]["parameters"]["Idempotency-Key"]["schema"]
    for text, valid in (
        ('"k"', True),
        ('"a \\"b\\""', True),
        ("k", True),
        ("k k", False),
        ("k" * 256, False),
        ('""', False),
        ('"' + "k" * 256 + '"', False),
    ):
        assert Draft202012Validator(key).is_valid(text) == valid


def test_real_answers_in_the_shapes_of_sdks_fit_their_schemas(server: ServerProcess, document: Any) -> None:
    queued, cancelled = (server.submit("noop", query="?runAt=2099-01-01T00:00:00Z") for _ in range(2))
    server.request("DELETE", f"/jobs/{cancelled}")
    completed, failed = server.submit("writes-files", {"text": "x"}), server.submit("fails", {"text": "x"})
    for job_id in (completed, failed):
        server.wait_for(job_id)
    unknown = "01900000-0000-7000-8000-000000000000"
    ids = (queued, cancelled, completed, failed, unknown)
    calls = [("GET", "/operations/{id}", f"/operations/{job_id}") for job_id in ids]
    for method, template in (("GET", "{id}"), ("POST", "{id}:cancel"), ("DELETE", "{id}")):
        path = f"/v1/jobs/operations/{template}"
        calls += [(method, path, path.replace("{id}", job_id)) for job_id in ids]
    calls += [
        ("GET", "/v1/jobs/operations", f"/v1/jobs/operations{query}") for query in ("", "?pageSize=1", "?filter=x")
    ]
    running = server.submit("steps-async", {"steps": 1, "step_s": 60})
    calls += [("DELETE", "/v1/jobs/operations/{id}", f"/v1/jobs/operations/{running}")]
    statuses = set()
    for method, template, path in calls:
        reply = server.request(method, path)
        statuses.add(reply.status)
        answer = document["paths"][template][method.lower()]["responses"][str(reply.status)]
        schema = answer["content"][reply.headers["Content-Type"]]["schema"]
        validator = Draft202012Validator(schema | {"components": document["components"]})
        errors = [f"{path}: {error.json_path}: {error.message}" for error in validator.iter_errors(reply.json)]
        assert not errors, errors
    assert statuses == {200, 400, 404, 409}
    server.request("DELETE", f"/jobs/{running}")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"points": [{"x": 1}]}, 202),
        ({"points": [{"x": 1, "z": 1}]}, 422),
        ({"points": [], "next": {"points": [{}]}}, 422),
        ({"points": [], "next": {"points": [], "surprise": 1}}, 422),
        ({}, 422),
    ],
)
def test_the_schema_of_an_input_accepts_what_the_server_accepts(
    server: ServerProcess, document: Any, body: Any, status: int
) -> None:
    content = document["paths"]["/jobs/nested-input"]["post"]["requestBody"]["content"]
    schema = content["application/json"]["schema"] | {"components": document["components"]}
    assert Draft202012Validator(schema).is_valid(body) == (status == 202)
    assert server.request("POST", "/jobs/nested-input", body).status == status


@pytest.mark.parametrize(("number", "status"), [("2.0", 202), ("2e0", 202), ("2.5", 422), ("1e400", 422)])
def test_a_whole_number_is_an_integer_however_it_is_written(server: ServerProcess, number: str, status: int) -> None:
    body = b'{"steps": %s}' % number.encode()
    reply = server.request("POST", "/jobs/steps-async", body, {"Content-Type": "application/json"})
    assert reply.status == status
    if status == 202:
        assert str(server.job(reply.json["jobId"])["input"]["steps"]) == "2"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/jobs/stats", "GET,HEAD,OPTIONS"), ("/jobs/progress", "GET,HEAD,OPTIONS"), ("/jobs/noop", "OPTIONS,POST")],
)
def test_a_path_that_is_not_a_job_does_not_respond_like_one(server: ServerProcess, path: str, allowed: str) -> None:
    for method, status in (("DELETE", 405), ("PUT", 405), ("OPTIONS", 204)):
        reply = server.request(method, path)
        assert (reply.status, reply.headers["Allow"]) == (status, allowed)


def test_each_example_is_accepted(server: ServerProcess, document: Any) -> None:
    examples = [
        (path, content["example"])
        for path, operations in document["paths"].items()
        for content in [
            operations.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        ]
        if "example" in content
    ]
    assert {"/jobs/weather", "/jobs/lottery", "/jobs/ping", "/api/reports"} <= {path for path, _ in examples}
    for path, example in examples:
        if path == "/jobs/batch":
            assert server.request("POST", path, example).json["refused"] == 0
            continue
        reply = server.request("POST", f"{path}?runAt=2099-01-01T00:00:00Z", example)
        assert reply.status == (503 if path == "/jobs/never-available" else 202), (path, reply.body)
