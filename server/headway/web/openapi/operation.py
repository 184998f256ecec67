"""The words in which an operation is described, and how they become OpenAPI 3.1."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel

from ..problems import ASKING_SOMETHING, KINDS
from ..request_ids import REQUEST_ID
from .examples import Example, problem
from .parameters import PATH_PARAMETERS, RESPONSE_HEADERS

Schema = dict[str, Any]
Operations = Mapping[tuple[str, str], "Operation"]
"""By method and path, as the routes have them."""

REF = "#/components/schemas/{model}"
EXAMPLE = "#/components/examples/{name}"
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
OF_REPRESENTATIONS = ("ETag", "Vary")
JOB_FAILED = "job-failed"
"""The one kind whose status is not its own, but that of the job's error."""
OF_FAILURES = ("4XX", "5XX")
"""The statuses that a job's error may have beyond those of other problems."""
OF_QUERIES = ("malformed-request", "validation-failed")
"""The additional problems of operations with query parameters."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
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
    conditional: bool = False
    """It is a `representation`: with an ETag, a 304, and compressed if it is big."""

    def described(self, method: str, path: str) -> Schema:
        """The operation object (OpenAPI 3.1, 4.8.10)."""
        operation: Schema = {
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "parameters": [
                *(_path_parameter(name) for name in _PARAMETER.findall(path)),
                *_query_parameters(self.query),
                *({"$ref": f"#/components/parameters/{name}"} for name in (*self._request_headers(), REQUEST_ID)),
            ],
            "responses": self._responses(() if method in SAFE else OF_WRITES),
        }
        if self.description:
            operation["description"] = self.description
        if self.content is not None:
            operation["requestBody"] = {"required": self.content_required, "content": dict(self.content)}
        return operation

    def _request_headers(self) -> Sequence[str]:
        return (*self.headers, "If-None-Match") if self.conditional else self.headers

    def _all_answers(self) -> Mapping[int, Answer]:
        if not self.conditional:
            return self.answers
        whole = self.answers[200]
        headers, sometimes = (*whole.headers, *OF_REPRESENTATIONS), (*whole.sometimes, "Content-Encoding")
        return {
            **self.answers,
            200: replace(whole, headers=headers, sometimes=sometimes),
            304: Answer(description="It has not changed", headers=OF_REPRESENTATIONS, sometimes=whole.sometimes),
        }

    def _responses(self, of_method: Sequence[str]) -> Schema:
        responses = {str(status): answer.described() for status, answer in self._all_answers().items()}
        by_status: dict[int, list[str]] = {}
        of_query = self.query_problems if self.query else ()
        for kind in dict.fromkeys([*self.problems, *of_query, *of_method, *ALWAYS]):
            by_status.setdefault(KINDS[kind][0], []).append(kind)
        for status, kinds in sorted(by_status.items()):
            headers = (*self.problem_headers.get(status, ()), *OF_STATUS.get(status, ()))
            sometimes = RATE_HEADERS if status in RATED else ()
            if JOB_FAILED in self.problems and status not in ASKING_SOMETHING:
                kinds, headers, sometimes = [*kinds, JOB_FAILED], (), (*sometimes, *headers)  # noqa: PLW2901
            responses[str(status)] = _problem(list(dict.fromkeys(kinds)), headers, sometimes)
        if JOB_FAILED in self.problems:
            responses |= {status: _problem([JOB_FAILED], (), ()) for status in OF_FAILURES}
        return responses


def _problem(kinds: Sequence[str], headers: Sequence[str], sometimes: Sequence[str]) -> Schema:
    # A reference may have siblings in JSON Schema 2020-12: the shape is one for all, the types are this answer's.
    types = [f"/problems/{kind}" for kind in kinds]
    schema = {"$ref": REF.format(model="Problem"), "properties": {"type": {"enum": types}}}
    return {
        "description": "; ".join(KINDS[kind][1] for kind in kinds),
        "headers": _response_headers(headers, sometimes),
        "content": {PROBLEM: {"schema": schema, **shown([problem(kind) for kind in kinds])}},
    }


def _response_headers(always: Sequence[str], sometimes: Sequence[str]) -> Schema:
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in (*always, REQUEST_ID)}
    return headers | {name: {**RESPONSE_HEADERS[name], "required": False} for name in sometimes}


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, **PATH_PARAMETERS[name]}


def _query_parameters(model: type[BaseModel] | None) -> list[Schema]:
    """Lists are separated by commas, arrays without `explode`; that they may be repeated too, OpenAPI cannot say.

    Objects are JSON text.
    """
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=REF)
    found: list[Schema] = []
    for name, value in schema.get("properties", {}).items():
        inlined = _inlined(value, schema.get("$defs", {}))
        inlined.pop("uniqueItems", None)  # a set in the model, but duplicates are accepted
        parameter: Schema = {"name": name, "in": "query"}
        if "description" in inlined:
            parameter["description"] = inlined.pop("description")
        if "patternProperties" in value:  # each property is a parameter of its own
            parameter |= {"schema": inlined, "style": "form", "explode": True}
        elif value.get("type") == "object":
            parameter["content"] = {JSON: {"schema": inlined}}
        else:
            parameter["schema"] = inlined
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


def json_content(schema: Schema, *examples: Example) -> dict[str, Schema]:
    """JSON content, with its examples."""
    return {JSON: {"schema": schema, **shown(examples)}}


def any_file(description: str) -> dict[str, Schema]:
    """A body of any media type. One stands for all: client generators support no `*/*` here."""
    return {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "description": description}}}


def answered(description: str, schema: Schema, *examples: Example, **more: Any) -> Answer:
    """A response in JSON. `more`: the other fields of `Answer`."""
    return Answer(description=description, content=json_content(schema, *examples), **more)


def shown(examples: Sequence[Example]) -> Schema:
    """References to examples, as content has them."""
    return {"examples": {each.name: {"$ref": EXAMPLE.format(name=each.name)} for each in examples}} if examples else {}


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
