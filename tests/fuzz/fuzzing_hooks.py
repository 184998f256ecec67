"""What the fuzzer must know and the document cannot express: state left by earlier requests, and slow operations."""

import uuid
from typing import Any

import schemathesis
from headway.domain.filters import OF_ANOTHER_LIST
from headway.service.uploads.resumable import NAMED_TWICE, NO_SUCH_UPLOAD
from schemathesis import GenerationMode

A_MOMENT_S = 0.5
"""Streams of many jobs do not end: only what arrives within this time is checked."""


LISTS = ("status", "type", "ids", "event", "host")
"""Query parameters that take several values."""
PATHS_BESIDE_JOBS = frozenset({"actions", "batch", "progress", "stats"})
"""What stands where a job's id does. OpenAPI gives these paths precedence; a link that was inferred does not."""
UNKNOWN_FIELD = "x-schemathesis-unknown-property"
NOBODY_LISTENS = "http://127.0.0.1:9/"


@schemathesis.serializer("application/offset+octet-stream")
def part_of_an_upload(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def before_call(_context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    if case.operation.path.endswith("/progress"):
        kwargs["timeout"] = A_MOMENT_S
    _mean_what_the_document_means(case)
    if "wait" in (case.query or {}):
        case.query["wait"] = min(case.query["wait"], A_MOMENT_S) if _is_number(case.query["wait"]) else "x"
    in_form = case.body.get("input") if isinstance(case.body, dict) else None
    for options in (case.query, case.body, in_form):
        _redirect_webhooks(options)
    for beside in (case.body, in_form):  # no schema can express that an option is given in one place only
        if isinstance(beside, dict) and case.query and not case.operation.path.startswith("/jobs"):
            for name in beside.keys() & case.query.keys():
                del (beside if beside[name] is None else case.query)[name]
    if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        headers = case.headers or {}
        if "Idempotency-Key" in headers:  # a key that was used for another request would be rejected
            headers["Idempotency-Key"] = f'"{uuid.uuid4()}"'
        if str(headers.get("If-Match", "")).isalnum():  # the coverage phase writes nothing else, whatever the pattern
            headers["If-Match"] = '"e0"'


def _mean_what_the_document_means(case: Any) -> None:
    if case.path_parameters and case.path_parameters.get("id") in PATHS_BESIDE_JOBS:
        case.path_parameters["id"] = str(uuid.uuid4())
    if case.headers:  # servers ignore fields that they do not know (RFC 9110, 5.1)
        case.headers.pop(UNKNOWN_FIELD, None)


def _redirect_webhooks(options: Any) -> None:
    """Send webhooks nowhere, so that no real host is called; no schema can express that events need a URL."""
    if not isinstance(options, dict):
        return
    url, events = options.get("webhookUrl"), options.get("webhookEvents")
    if (isinstance(url, str) and url.lower().startswith("http")) or (url is None and events):
        options["webhookUrl"] = NOBODY_LISTENS
    tried_out = options.get("url")
    if isinstance(tried_out, str) and tried_out.lower().startswith("http"):
        options["url"] = NOBODY_LISTENS


@schemathesis.hook
def filter_query(_context: Any, query: Any) -> bool:
    """Leave out empty values such as `?status=`, which mean no filter: a form with nothing chosen sends them."""
    return query is None or not any(_holds_nothing(query[name]) for name in LISTS if name in query)


def _holds_nothing(value: Any) -> bool:
    return not value or (isinstance(value, list) and not all(value)) or "" in str(value).split(",")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


@schemathesis.check
def valid_input_is_valid(_context: Any, response: Any, case: Any) -> None:
    """Input that fits the document is not rejected as malformed or invalid.

    The check for it that comes with schemathesis must let pass every status that a job's state can cause.
    """
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE or response.status_code < 400:
        return
    if case.operation.method == "head":  # no body says what was wrong
        return
    problem = response.json()
    kind = problem["type"].removeprefix("/problems/")
    details = {error["detail"] for error in problem.get("errors", ())}
    if details and all(map(_beyond_schemas, details)):
        return
    if case.operation.path == "/uploads" and kind in ("too-large", "malformed-request"):
        return  # the limit of a file is the operator's, and its metadata are in Base64
    if case.operation.method == "post" and case.operation.path in ("/jobs", "/jobs/{id}", "/jobs/{id}/retry"):
        # The input of any type, or changes of it: only the type's own schema describes it.
        pointers = {error["pointer"] for error in problem.get("errors", ())}
        if case.operation.path == "/jobs/{id}" or all(pointer.startswith("/input") for pointer in pointers):
            return
    if kind in ("malformed-request", "validation-failed", "unsupported-media-type", "too-large"):
        raise AssertionError(f"{kind}: {response.text}")


@schemathesis.check
def no_error_is_the_servers(_context: Any, response: Any, case: Any) -> None:
    """`not_a_server_error`, but for the result of a job that has failed, which has the status of the job's error."""
    if response.status_code < 500:
        return
    assert "5XX" in case.operation.definition.raw["responses"], response.text
    assert case.operation.method == "head" or response.json()["type"] == "/problems/job-failed", response.text


def _beyond_schemas(detail: str) -> bool:
    """Whether this is an error that no schema can rule out, or only one that few generators read."""
    return (
        detail in ("is out of range", NO_SUCH_UPLOAD, NAMED_TWICE)  # an offset leads beyond the calendar, or no upload
        or detail.startswith(OF_ANOTHER_LIST)  # a cursor goes with the `sort` of the page that it is from
        or "job cannot be" in detail  # an action applies to some states
        or "word" in detail  # what is searched for
    )


_purged: set[str] = set()


@schemathesis.check
def what_was_purged_is_gone(_context: Any, response: Any, case: Any) -> None:
    """`use_after_free`, for deletions only: a DELETE without `purge` cancels the job, and its record stays."""
    job_id = str((case.path_parameters or {}).get("id"))
    if job_id in _purged:
        assert response.status_code >= 400, f"{job_id} was purged, and is still there"
    purges = case.path.startswith("/v1/") or str((case.query or {}).get("purge")).lower() == "true"
    if (
        case.operation.method == "delete"
        and purges
        and case.path.endswith("{id}")
        and response.status_code in (200, 204)
    ):
        _purged.add(job_id)
