"""Resources of job types: what `@job` declares and rejects."""

from pathlib import Path
from typing import Any

import pytest
from headway import BlockingContext, ResourceContext, job
from headway.authoring.declaring import declared
from headway.errors import JobTypeError
from pydantic import BaseModel, ValidationError


class Todo(BaseModel):
    title: str


class Wanted(BaseModel):
    limit: int = 5


def handler(ctx: BlockingContext) -> None: ...


def get(ctx: ResourceContext, id: str) -> Todo | None: ...


def list_all(ctx: ResourceContext, query: Wanted) -> list[Todo]:
    return []


def test_a_path_alone_shows_the_jobs() -> None:
    job("report", path="/api/reports")(handler)
    resource = declared("report").resource
    assert resource is not None
    assert (resource.path, resource.readers) == ("/api/reports", None)
    assert declared("report").on_complete is None


def test_get_and_list_are_read_from_their_signatures() -> None:
    job("todo", path="/api/todos", get=get, list=list_all, on_complete="redirect")(handler)
    assert declared("todo").on_complete == "redirect"
    resource = declared("todo").resource
    assert resource is not None
    assert resource.readers is not None
    one, all_of_them = resource.readers.get, resource.readers.list
    assert (one.is_async, one.query_type, all_of_them.is_async) == (False, None, False)
    assert one.output_schema["title"] == "Todo"
    assert one.encode(Todo(title="x")) == b'{"title":"x"}'
    assert one.encode(None) == b"null"
    assert all_of_them.query_type is not None
    assert all_of_them.query_type.model_validate({"limit": 3}).model_dump() == {"limit": 3}
    with pytest.raises(ValidationError):
        all_of_them.query_type.model_validate({"surprise": 3})
    with pytest.raises(ValidationError):
        all_of_them.encode(None)


@pytest.mark.parametrize(
    "path",
    ["", "/", "api/reports", "/api/", "/api//reports", "/api/{id}", "/api/../x", "/a b", "/ä", "/a\n", "/" + "x" * 200],
)
def test_a_malformed_path_is_rejected(path: str) -> None:
    with pytest.raises(JobTypeError, match="cannot be a path"):
        job("report", path=path)(handler)


@pytest.mark.parametrize("path", ["/api/reports", "/api/reports/x", "/api"])
def test_overlapping_paths_of_two_types_are_rejected(path: str) -> None:
    job("report", path="/api/reports")(handler)
    with pytest.raises(JobTypeError, match=r"other: .* overlaps /api/reports of the job type 'report'"):
        job("other", path=path)(handler)
    job("near", path="/api/reports-of-today")(handler)


def test_a_module_that_is_loaded_again_declares_its_path_again() -> None:
    job("report", path="/api/reports")(handler)
    job("report", path="/api/reports")(handler)


def without_id(ctx: ResourceContext) -> Todo | None: ...


def without_context() -> list[Todo]:
    return []


def takes_anything(*parts: Any) -> list[Todo]:
    return []


def yields(ctx: ResourceContext) -> Any:
    yield 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"get": get}, "need a path"),
        ({"list": list_all}, "need a path"),
        ({"path": "/x", "get": get}, "come together"),
        ({"path": "/x", "list": list_all}, "come together"),
        ({"path": "/x", "get": without_id, "list": list_all}, r"get must take \(ctx, id\)"),
        ({"path": "/x", "get": get, "list": without_context}, r"list must take \(ctx\) or \(ctx, query\)"),
        ({"path": "/x", "get": get, "list": get}, "annotate list's second parameter"),
        ({"path": "/x", "get": get, "list": takes_anything}, "only have plain parameters"),
        ({"path": "/x", "get": get, "list": yields}, "returns what clients see"),
        ({"path": "/x", "get": "read", "list": list_all}, "get must be a function"),
        ({"on_complete": "redirekt"}, "on_complete must be 'redirect'"),
    ],
)
def test_a_mistake_in_get_or_list_is_reported_when_the_type_is_declared(given: dict[str, Any], words: str) -> None:
    with pytest.raises(JobTypeError, match=words):
        job("todo", **given)(handler)


def test_a_return_type_that_json_cannot_hold_is_rejected() -> None:
    def get_socket(ctx: ResourceContext, id: str) -> BlockingContext | None: ...

    with pytest.raises(JobTypeError, match="cannot be written as JSON"):
        job("todo", path="/x", get=get_socket, list=list_all)(handler)


def test_the_context_of_a_resource_has_the_data_directory_of_its_type(tmp_path: Path) -> None:
    ctx = ResourceContext("somebody", tmp_path / "types" / "todo")
    assert ctx.caller == "somebody"
    assert ctx.data_dir.is_dir()
