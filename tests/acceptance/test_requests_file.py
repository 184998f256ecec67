"""`tests/requests.http`, which people run from their editors, matches what the server really responds."""

import re
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.http_file import HttpFile, Run, client_of
from tests.support.process import ROOT, ServerProcess

FILE = ROOT / "tests" / "requests.http"
MOST_ASKS = 20
JOBS = {
    *(("POST", f"/jobs/{name}") for name in ("weather", "lottery", "ping", "csv-report")),
    *(("GET", f"/jobs/{{id}}{below}") for below in ("", "/progress", "/logs", "/attempts", "/result", "/files/{name}")),
    *(("DELETE", f"/jobs/{{id}}{below}") for below in ("", "/result")),
    *(("GET", "/jobs"), ("POST", "/jobs"), ("POST", "/jobs/{id}/retry")),
}
"""The operations that the flows use besides the resources."""


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with ServerProcess() as server, client_of(server) as client:
        yield client


def test_every_response_is_as_the_file_says_and_every_flow_is_in_it(client: httpx.Client) -> None:
    file = HttpFile.parse(FILE.read_text("utf-8"))
    run = Run(file, client, host=str(client.base_url).rstrip("/"))
    sent: set[tuple[str, str]] = set()
    for request in file.requests:
        asked = 0

        def pause(answer: httpx.Response) -> None:
            nonlocal asked
            asked += 1
            assert int(answer.headers["Retry-After"]) >= 1
            assert asked < MOST_ASKS, answer.text
            if "Preference-Applied" not in answer.headers:
                time.sleep(int(answer.headers["Retry-After"]))

        answer = run.send(request, pause)
        assert answer.status_code == request.expect, f"{request.title}: {answer.status_code} {answer.text[:1000]}"
        sent |= {(each.request.method, each.request.url.path) for each in (*answer.history, answer)}
    described = {
        (method.upper(), path)
        for path, operations in client.get("/openapi.json").json()["paths"].items()
        for method in operations
    }
    flows = JOBS | {(method, path) for method, path in described if path.startswith("/api/")}
    assert flows <= described
    assert {flow for flow in flows if not any(_is_of(request, flow) for request in sent)} == set()


def _is_of(request: tuple[str, str], operation: tuple[str, str]) -> bool:
    template = re.sub(r"{\w+}", "[^/]+", operation[1])
    return request[0] == operation[0] and re.fullmatch(template, request[1]) is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("GET http://x/", "does not say what to expect"),
        ("# expect: 2xx\nGET http://x/", "is not known"),
        ("# @prompt name\n# expect: 200\nGET http://x/", "is not known"),
        ("# expect: 200\nPATCH http://x/", "is not known"),
        ("# expect: 200\nGET http://x/\n?a=b", "is no header"),
        ("# expect: 200\nGET http://x/\n\n@late = 1", "belongs before the next request"),
        ("# expect: 200\nGET http://x/{{a.response.body.$.id}}", "by a variable"),
    ],
)
def test_syntax_that_an_editor_would_read_differently_is_an_error(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        HttpFile.parse(text)


@pytest.mark.parametrize("reference", ["{{nobody}}", "{{nobody.response.headers.X}}", "{{host.request.body}}"])
def test_a_reference_that_cannot_be_resolved_is_an_error(client: httpx.Client, reference: str) -> None:
    run = Run(HttpFile.parse("@host = x"), client)
    assert run.resolved("{{host}}/{{host}}") == "x/x"
    with pytest.raises(ValueError, match="neither a variable nor"):
        run.resolved(reference)
