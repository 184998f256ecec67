"""The words in which an operation is described, and how they become OpenAPI 3.1."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from ..problems import KINDS
from ..request_ids import REQUEST_ID

Schema = dict[str, Any]
Operations = Mapping[tuple[str, str], "Operation"]
"""By method and path, as the routes have them."""

REF = "#/components/schemas/{model}"
JSON = "application/json"
PROBLEM = "application/problem+json"

ALWAYS = ("unauthorized", "expectation-failed", "misdirected", "too-many-requests")
"""The problems of every operation; the last one is for clients that keep sending wrong keys."""
OF_WRITES = ("forbidden",)
"""The additional problems of operations that change something."""
OF_STATUS: Mapping[int, Sequence[str]] = {401: ("WWW-Authenticate",), 429: ("Retry-After",)}
"""The headers of every problem with this status."""
RATE_HEADERS = ("RateLimit", "RateLimit-Policy")
RATED = frozenset({401, 429})
"""The statuses of problems that may have `RateLimit` headers."""
OF_QUERIES = ("malformed-request", "validation-failed")
"""The additional problems of operations with query parameters."""

_PARAMETER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The response with one status."""

    description: str
    content: Mapping[str, Schema] | None = None
    """By media type; `None` if there is no body."""
    headers: Sequence[str] = ()
    """Names in `RESPONSE_HEADERS` that are always there."""
    sometimes: Sequence[str] = ()
    """Headers that are not in every response; their descriptions say when."""
    links: Mapping[str, Schema] = field(default_factory=dict)

    def described(self) -> Schema:
        answer: Schema = {"description": self.description, "headers": _response_headers(self.headers, self.sometimes)}
        if self.content is not None:
            answer["content"] = dict(self.content)
        if self.links:
            answer["links"] = dict(self.links)
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What one method of one path does."""

    id: str
    tag: str
    summary: str
    description: str = ""
    query: type[BaseModel] | None = None
    """The query parameters; `None`: the query is not read."""
    query_problems: Sequence[str] = OF_QUERIES
    headers: Sequence[str] = ()
    """Names in `REQUEST_HEADERS`."""
    content: Mapping[str, Schema] | None = None
    """The body by media type; `None`: none is read."""
    content_required: bool = False
    answers: Mapping[int, Answer]
    problems: Sequence[str] = ()
    """Kinds of problems beyond `ALWAYS`, `OF_QUERIES` and `OF_WRITES`."""
    problem_headers: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """Headers that the problem with a status always has."""

    def described(self, method: str, path: str) -> Schema:
        """The operation object (OpenAPI 3.1, 4.8.10)."""
        operation: Schema = {
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "parameters": [
                *(_path_parameter(name) for name in _PARAMETER.findall(path)),
                *_query_parameters(self.query),
                *({"$ref": f"#/components/parameters/{name}"} for name in (*self.headers, REQUEST_ID)),
            ],
            "responses": self._responses(() if method == "GET" else OF_WRITES),
        }
        if self.description:
            operation["description"] = self.description
        if self.content is not None:
            operation["requestBody"] = {"required": self.content_required, "content": dict(self.content)}
        return operation

    def _responses(self, of_method: Sequence[str]) -> Schema:
        responses = {str(status): answer.described() for status, answer in self.answers.items()}
        by_status: dict[int, list[str]] = {}
        of_query = self.query_problems if self.query else ()
        for kind in dict.fromkeys([*self.problems, *of_query, *of_method, *ALWAYS]):
            by_status.setdefault(KINDS[kind][0], []).append(kind)
        for status, kinds in sorted(by_status.items()):
            headers = (*self.problem_headers.get(status, ()), *OF_STATUS.get(status, ()))
            responses[str(status)] = _problem(kinds, headers, RATE_HEADERS if status in RATED else ())
        return responses


def _problem(kinds: Sequence[str], headers: Sequence[str], sometimes: Sequence[str]) -> Schema:
    # A reference may have siblings in JSON Schema 2020-12: the shape is one for all, the types are this answer's.
    types = [f"/problems/{kind}" for kind in kinds]
    schema = {"$ref": REF.format(model="Problem"), "properties": {"type": {"enum": types}}}
    return {
        "description": "; ".join(KINDS[kind][1] for kind in kinds),
        "headers": _response_headers(headers, sometimes),
        "content": {PROBLEM: {"schema": schema}},
    }


def _response_headers(always: Sequence[str], sometimes: Sequence[str]) -> Schema:
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in (*always, REQUEST_ID)}
    return headers | {name: {**RESPONSE_HEADERS[name], "required": False} for name in sometimes}


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, **PATH_PARAMETERS[name]}


def _query_parameters(model: type[BaseModel] | None) -> list[Schema]:
    """Lists are separated by commas: arrays without `explode`."""
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=REF)
    found: list[Schema] = []
    for name, value in schema.get("properties", {}).items():
        inlined = _inlined(value, schema.get("$defs", {}))
        inlined.pop("uniqueItems", None)  # a set in the model, but duplicates are accepted
        parameter: Schema = {"name": name, "in": "query", "schema": inlined}
        if "description" in inlined:
            parameter["description"] = inlined.pop("description")
        if value.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        found.append(parameter)
    return found


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return definitions[schema["$ref"].rsplit("/", 1)[1]]
    return {key: _inlined(value, definitions) for key, value in schema.items()}


# Building blocks for the descriptions


def ref(model: type[BaseModel]) -> Schema:
    return {"$ref": REF.format(model=model.__name__)}


def json_content(schema: Schema, example: Any = None) -> dict[str, Schema]:
    """JSON content, with an example if there is one."""
    return {JSON: {"schema": schema} if example is None else {"schema": schema, "example": example}}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def closed_object(**properties: Any) -> Schema:
    """An object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def or_null(of_type: str) -> Schema:
    return {"type": [of_type, "null"]}


def link(operation_id: str, description: str, **parameters: str) -> Schema:
    """A link from a response to an operation (OpenAPI 3.1, 4.8.20)."""
    return {"operationId": operation_id, "description": description, "parameters": parameters}


PATH_PARAMETERS: Mapping[str, Schema] = {
    "id": {"description": "The id of a job. A malformed id is a 404.", "schema": {"type": "string"}},
    "deliveryId": {"description": "The id of one of the job's deliveries.", "schema": {"type": "string"}},
    "key": {"description": "An id, as the job type's author defines it.", "schema": {"type": "string"}},
    "name": {"description": "The name of one of the job's `files`.", "schema": {"type": "string"}},
    "path": {"description": "A file of the page.", "schema": {"type": "string"}},
}

REQUEST_HEADERS: Mapping[str, Schema] = {
    REQUEST_ID: {
        "description": (
            "The client's id for this request. It is sent back and written to the server's log. "
            "Printable ASCII, at most 128 characters; anything else is replaced."
        ),
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "description": "The ETags that the client has: if one of them is current, the response is a 304.",
        "schema": {"type": "string"},
    },
    "If-Match": {
        "description": "ETags: if none of them is the file's, the response is a 412.",
        "schema": {"type": "string"},
    },
    "If-Modified-Since": {"description": "An HTTP date.", "schema": {"type": "string"}},
    "If-Unmodified-Since": {"description": "An HTTP date.", "schema": {"type": "string"}},
    "Idempotency-Key": {
        "description": (
            "A string in quotes (RFC 9651), 1 to 255 characters. Within 24 hours another submission with the same key "
            "returns the first one's job instead of a new one."
        ),
        "schema": {"type": "string", "pattern": r'^"(?:[ !#-\[\]-~]|\\["\\]){1,255}"$'},
    },
    "Last-Event-ID": {
        "description": (
            "The id of the last event that the client received; what it missed follows. EventSource sends it by itself."
        ),
        "schema": {"type": "string"},
    },
    "Prefer": {
        "description": "`wait=30`: seconds to wait (RFC 7240, 4.3), at most `maxWaitSeconds`.",
        "schema": {"type": "string"},
    },
    "Range": {
        "description": "One range of bytes (RFC 9110, 14.2); other units are ignored.",
        "schema": {"type": "string"},
    },
    "If-Range": {"description": "The range applies only if this is the file's ETag.", "schema": {"type": "string"}},
}

RESPONSE_HEADERS: Mapping[str, Schema] = {
    "Accept-Ranges": {"description": "`bytes`", "schema": {"const": "bytes"}},
    "Content-Disposition": {
        "description": "The file's name (RFC 6266), and whether to save or display it.",
        "schema": {"type": "string"},
    },
    "Content-Location": {
        "description": "The URL of the resource that the body represents.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Content-Range": {
        "description": "Which bytes these are, and the file's size.",
        "schema": {"type": "string"},
    },
    "ETag": {"description": "For `If-None-Match`.", "schema": {"type": "string", "pattern": '^(W/)?"[^"]*"$'}},
    "Idempotency-Replayed": {
        "description": "`true` if the job was accepted earlier, with the same key.",
        "schema": {"const": "true"},
    },
    "Last-Modified": {"description": "An HTTP date.", "schema": {"type": "string"}},
    "Link": {"description": 'The next page, `rel="next"` (RFC 8288), if there is one.', "schema": {"type": "string"}},
    "Location": {"description": "The URL of the job.", "schema": {"type": "string", "format": "uri-reference"}},
    "Operation-Location": {
        "description": "The URL that Azure's SDKs poll.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Preference-Applied": {
        "description": "`wait=30`: the preference that the server applied (RFC 7240, 3).",
        "schema": {"type": "string", "pattern": "^wait=[0-9]+$"},
    },
    "RateLimit": {
        "description": (
            "How many requests are left under each policy that counts this request, and for how many seconds "
            "(draft-ietf-httpapi-ratelimit-headers-11). Absent for clients without a key on a server that only its own "
            "machine can reach."
        ),
        "schema": {"type": "string"},
        "example": '"submissions-by-owner";r=5999;t=60, "submissions-by-address";r=5999;t=60',
    },
    "RateLimit-Policy": {
        "description": "The policies: how many requests in how many seconds. Present whenever `RateLimit` is.",
        "schema": {"type": "string"},
        "example": '"submissions-by-owner";q=6000;w=60, "submissions-by-address";q=6000;w=60',
    },
    REQUEST_ID: {
        "description": "The id of this request in the server's log: the client's, or one that the server generated.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "Retry-After": {
        "description": "Seconds after which to ask again. On a job, only while it is in progress.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Set-Cookie": {"description": "The session's cookie.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "How to authenticate (RFC 6750, 3).", "schema": {"type": "string"}},
}
