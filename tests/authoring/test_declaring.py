"""`@job`: what it declares and rejects, what an input may hold, and what a result may be."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
from headway import BlockingContext, Context, JobFailed, Upload, job
from headway.authoring import declaring
from headway.authoring.attempt_limits import AttemptLimits
from headway.authoring.declaring import declared
from headway.authoring.job_types import JobType, Registry
from headway.errors import JobTypeError
from headway.limits import INTEGER_DIGITS
from pydantic import BaseModel, Field, RootModel, ValidationError
from pydantic_core import to_json


@pytest.fixture(autouse=True)
def _nothing_stays_imported() -> Iterator[None]:
    modules, path = dict(sys.modules), list(sys.path)
    yield
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]
    sys.path[:] = path


class Width(BaseModel):
    width: int


class Inner(BaseModel):
    x: int = 0


class Outer(BaseModel):
    inner: Inner | None = None
    many: list[Inner] = []
    by_name: dict[str, Inner] = {}
    free: dict[str, Any] = {}


class ForbiddingOuter(Outer, extra="forbid"):
    pass


class AllowingOuter(Outer, extra="allow"):
    pass


class Document(BaseModel):
    document: Upload
    cover: Upload | None = None
    copies: int = 1


# Declarations


def test_a_job_type_is_declared_from_its_function() -> None:
    @job("resize-pictures", max_attempts=3, timeout_s=600, concurrency=2, retain_s=60)
    def resize(ctx: BlockingContext, input: Width) -> dict[str, int]:
        """Makes pictures smaller."""
        return {"width": input.width}

    found = declared("resize-pictures")
    assert (found.name, found.title, found.description) == (
        "resize-pictures",
        "Resize pictures",
        "Makes pictures smaller.",
    )
    assert (found.max_attempts, found.timeout_s, found.concurrency, found.retain_s) == (3, 600, 2, 60)
    assert (found.is_async, found.input_type, found.uploads, found.source) == (False, Width, {}, __name__)
    assert found.unavailable() is None
    assert found.handler is resize, "the decorator gives the function back"
    assert found.call(None, Width(width=7)) == {"width": 7}


def test_a_handler_may_be_async_and_need_no_input() -> None:
    @job("tick", title="T", description="D", unavailable=lambda: "no ticker here")
    async def tick(ctx: Context) -> None: ...

    found = declared("tick")
    assert (found.title, found.description, found.unavailable()) == ("T", "D", "no ticker here")
    assert (found.is_async, found.input_type, found.max_attempts, found.timeout_s) == (True, None, 1, None)
    assert found.parse_input(to_json({}), {}) is None
    with pytest.raises(ValidationError):
        found.parse_input(to_json({"surprise": 1}), {})


@pytest.mark.parametrize("name", ["", "Resize", "a_b", "a b", "-a", "a-", "a--b", "ä", "a/b", "a\n", "x" * 65])
def test_a_job_type_name_that_a_path_cannot_hold_is_rejected(name: str) -> None:
    with pytest.raises(JobTypeError, match="lower-case words"):
        job(name)(handler)


@pytest.mark.parametrize("name", ["progress", "stats", "batch", "actions"])
def test_a_job_type_cannot_have_the_name_of_a_path_of_the_server(name: str) -> None:
    with pytest.raises(JobTypeError, match=f"'{name}' cannot be .*: /jobs/{name} is the server's own path"):
        job(name)(handler)


def handler(ctx: BlockingContext) -> None: ...


def test_the_decorator_without_a_name_says_what_is_missing() -> None:
    with pytest.raises(JobTypeError, match=r"takes the name.*@job\(\"name\"\)"):
        job(handler)(handler)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"concurrency": 0}, "concurrency"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": -1.0}, "timeout_s"),
        ({"timeout_s": math.inf}, "timeout_s"),
        ({"timeout_s": math.nan}, "timeout_s"),
        ({"stall_timeout_s": 0}, "stall_timeout_s"),
        ({"stall_timeout_s": math.nan}, "stall_timeout_s"),
        ({"max_queued": 0}, "max_queued"),
        ({"keep_process": True, "max_jobs_per_process": 0}, "max_jobs_per_process must be at least 1"),
        ({"keep_process": True, "max_mib_per_process": 0}, "max_mib_per_process must be a number of MiB above 0"),
        ({"max_jobs_per_process": 5}, "need keep_process=True"),
        ({"max_mib_per_process": 5}, "need keep_process=True"),
        ({"memory_mib": 0}, "memory_mib must be a number of MiB above 0"),
        ({"cpu_s": math.nan}, "cpu_s must be a number of seconds above 0"),
        ({"max_output_mib": math.inf}, "max_output_mib must be a number of MiB above 0"),
        ({"max_pids": 0}, "max_pids must be a number of processes above 0"),
        ({"max_recoveries": -1}, "max_recoveries"),
        ({"webhook_url": "ftp://example.com/"}, "webhook_url must be an http"),
        ({"webhook_url": "https://"}, "webhook_url must be an http"),
        ({"webhook_url": 5}, "webhook_url must be an http"),
        ({"on_interrupt": "retry"}, "on_interrupt"),
        ({"retain_s": -1}, "retain_s"),
        ({"retain_s": math.nan}, "retain_s"),
        ({"retain_s": math.inf}, "retain_s"),
    ],
)
def test_a_limit_out_of_range_is_rejected(limits: dict[str, Any], words: str) -> None:
    with pytest.raises(JobTypeError, match=f"a-job: .*{words}"):
        job("a-job", **limits)(handler)


def test_a_process_cannot_be_kept_for_an_async_def() -> None:
    async def async_handler(ctx: Context) -> None: ...

    with pytest.raises(JobTypeError, match="a-job: keep_process is for def handlers"):
        job("a-job", keep_process=True)(async_handler)


@pytest.mark.parametrize("limit", ["memory_mib", "cpu_s", "max_pids"])
def test_a_limit_of_processes_is_rejected_for_an_async_def(limit: str) -> None:
    async def async_handler(ctx: Context) -> None: ...

    limits: dict[str, Any] = {limit: 5}
    with pytest.raises(JobTypeError, match="a-job: memory_mib, cpu_s and max_pids are for def handlers"):
        job("a-job", **limits)(async_handler)
    job("a-job", max_output_mib=5)(async_handler)


def test_the_servers_limits_fill_in_what_a_type_leaves_open() -> None:
    async def async_handler(ctx: Context) -> None: ...

    job("a-job", memory_mib=5)(handler)
    job("another-job", max_output_mib=7)(async_handler)
    defaults = AttemptLimits(memory_mib=1, cpu_s=2, max_output_mib=3, max_pids=4)
    registry = Registry([declared("a-job"), declared("another-job")]).with_defaults(defaults)
    assert [each.limits for each in registry] == [
        AttemptLimits(memory_mib=5, cpu_s=2, max_output_mib=3, max_pids=4),
        AttemptLimits(max_output_mib=7),
    ]


def no_parameter() -> None: ...
def three(ctx: BlockingContext, input: Width, more: int) -> None: ...
def starred(*args: Any) -> None: ...
def keyword(*, ctx: BlockingContext) -> None: ...
def keyword_input(ctx: BlockingContext, *, input: Width) -> None: ...
def unannotated(ctx, input) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def not_a_model(ctx: BlockingContext, input: dict[str, int]) -> None: ...
def a_union(ctx: BlockingContext, input: Width | Inner) -> None: ...
def a_list(ctx: BlockingContext, input: RootModel[list[int]]) -> None: ...
def unknown_input(ctx: BlockingContext, input: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def unknown_output(ctx: BlockingContext) -> "Nowhere": ...  # type: ignore[name-defined]  # noqa: F821
def odd_output(ctx: BlockingContext) -> Callable[[], int]: ...  # type: ignore[empty-body]
def generator(ctx: BlockingContext) -> Iterator[int]:
    yield 1


async def async_generator(ctx: Context) -> Any:
    yield 1


class Inexpressible(BaseModel):
    when: Callable[[], int]


def inexpressible(ctx: BlockingContext, input: Inexpressible) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (no_parameter, r"must take \(ctx\) or \(ctx, input\)"),
        (three, r"must take \(ctx\) or \(ctx, input\)"),
        (starred, r"must take \(ctx\) or \(ctx, input\)"),
        (keyword, r"must take \(ctx\) or \(ctx, input\)"),
        (keyword_input, r"must take \(ctx\) or \(ctx, input\)"),
        (unannotated, "annotate 'input' with a pydantic model"),
        (not_a_model, "annotate 'input' with a pydantic model"),
        (a_union, "annotate 'input' with a pydantic model"),
        (a_list, "annotate 'input' with a pydantic model"),
        (unknown_input, "cannot be resolved.*Nowhere"),
        (unknown_output, "cannot be resolved.*Nowhere"),
        (odd_output, "cannot be written as JSON"),
        (generator, "not yield"),
        (async_generator, "not yield"),
        (partial(three, more=1), "cannot be resolved"),
        (inexpressible, "cannot be described as JSON"),
    ],
)
def test_a_signature_that_cannot_work_is_rejected(wrong: Callable[..., Any], words: str) -> None:
    with pytest.raises(JobTypeError, match=f"a-job: .*{words}"):
        job("a-job")(wrong)


def test_two_functions_with_one_name_are_rejected() -> None:
    job("a-job")(handler)
    job("a-job")(handler)  # the same one again: its module was loaded again
    with pytest.raises(JobTypeError, match="declared twice"):
        job("a-job")(three_words)


def three_words(ctx: BlockingContext) -> None: ...


def test_a_job_type_that_no_module_declared_is_unknown() -> None:
    with pytest.raises(JobTypeError, match="'nowhere'"):
        declared("nowhere")


# Uploads


def the_type(model: type[BaseModel], output: Any = Any) -> JobType:
    def takes(ctx: BlockingContext, input: Any) -> Any: ...

    takes.__annotations__ |= {"input": model, "return": output}
    job("a-job")(takes)
    return declared("a-job")


UPLOAD = Upload(Path("/tmp/x"), "x.pdf", "application/pdf", 5)  # noqa: S108 - never opened


def test_uploads_are_fields_of_the_model() -> None:
    taking = the_type(Document)
    assert taking.uploads == {"document": True, "cover": False}
    parsed = taking.parse_input(to_json({"copies": 2}), {"document": UPLOAD})
    assert parsed == Document(document=UPLOAD, copies=2)


class Explained(BaseModel):
    document: Annotated[Upload | None, Field(description="a PDF")] = None


def test_an_upload_may_be_annotated_with_a_description() -> None:
    assert the_type(Explained).uploads == {"document": False}


@pytest.mark.parametrize(
    "forged",
    [
        {"path": "/etc/passwd", "filename": "x", "content_type": "text/plain", "size_bytes": 1},
        ["/etc/passwd", "x", "text/plain", 1],
        "/etc/passwd",
        None,
        1,
    ],
)
def test_no_json_can_name_a_file_of_this_machine(forged: Any) -> None:
    with pytest.raises(ValidationError, match="document"):
        the_type(Document).parse_input(to_json({"document": forged}), {})
    if forged is not None:
        with pytest.raises(ValidationError, match="cover"):
            the_type(Document).parse_input(to_json({"cover": forged}), {"document": UPLOAD})


class Several(BaseModel):
    documents: list[Upload]


class Renamed(BaseModel):
    document: Upload = Field(alias="doc")


class Within(BaseModel):
    document: Document


class Either(BaseModel):
    document: Upload | str


@pytest.mark.parametrize("model", [Several, Renamed, Within, Either])
def test_an_upload_that_no_file_part_could_fill_is_rejected(model: type[BaseModel]) -> None:
    with pytest.raises(JobTypeError, match=r"must be `Upload` or `Upload \| None`"):
        the_type(model)


# Input and output


@pytest.mark.parametrize(
    "fields",
    [
        {"surprise": 1},
        {"inner": {"surprise": 1}},
        {"many": [{"x": 1}, {"surprise": 1}]},
        {"by_name": {"a": {"surprise": 1}}},
    ],
)
@pytest.mark.parametrize("model", [Outer, ForbiddingOuter])
def test_unknown_fields_are_rejected_in_every_part_of_the_input(model: type[BaseModel], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="surprise"):
        the_type(model).parse_input(to_json(fields), {})


def test_an_object_without_a_model_takes_any_field() -> None:
    parsed = the_type(Outer).parse_input(to_json({"free": {"any": {"thing": 1}}}), {})
    assert isinstance(parsed, Outer)
    assert parsed.free == {"any": {"thing": 1}}


def test_a_model_may_allow_unknown_fields() -> None:
    assert the_type(AllowingOuter).parse_input(to_json({"surprise": 1}), {}) is not None


@pytest.mark.parametrize("model", [Outer, ForbiddingOuter, Document])
def test_the_schema_is_closed_if_unknown_fields_are_rejected(model: type[BaseModel]) -> None:
    schema = the_type(model).input_schema
    assert schema["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in schema.get("$defs", {}).values())
    if "free" in schema["properties"]:
        assert schema["properties"]["free"]["additionalProperties"] is True
        assert schema["properties"]["by_name"]["additionalProperties"] == {"$ref": "#/$defs/Inner"}


def test_the_schema_is_open_if_unknown_fields_are_allowed() -> None:
    schema = the_type(AllowingOuter).input_schema
    assert schema["additionalProperties"] is True
    assert "additionalProperties" not in schema["$defs"]["Inner"]


class Confusing(BaseModel):
    type: str = "object"
    properties: dict[str, int] = {}
    default: Inner = Inner()
    example: dict[str, Any] = {"type": "object", "properties": {}}


def test_fields_named_like_json_schema_keywords_are_only_fields() -> None:
    schema = the_type(Confusing).input_schema
    assert schema["properties"]["example"]["default"] == {"type": "object", "properties": {}}
    assert schema["properties"]["properties"]["additionalProperties"] == {"type": "integer"}
    assert schema["$defs"]["Inner"]["additionalProperties"] is False


def test_no_input_is_an_empty_object_and_an_upload_is_binary() -> None:
    job("a-job")(handler)
    assert declared("a-job").input_schema["additionalProperties"] is False
    declaring._declared.clear()
    properties = the_type(Document).input_schema["properties"]
    assert properties["document"] == {"title": "Document", "type": "string", "format": "binary"}


@dataclass
class Point:
    x: int
    y: float


@pytest.mark.parametrize(
    ("output", "value", "text"),
    [
        (Any, {"a": 1}, '{"a":1}'),
        (None, None, "null"),
        (dict[str, int], {"a": True}, '{"a":1}'),
        (Point, Point(1, 2), '{"x":1,"y":2.0}'),
        (Width, {"width": "7"}, '{"width":7}'),
        (Any, {"x": None, "y": "NaN"}, '{"x":null,"y":"NaN"}'),
        (str, "Größe \U0001f600", '"Größe \U0001f600"'),
    ],
)
def test_a_result_is_encoded_as_json(output: Any, value: Any, text: str) -> None:
    assert the_type(Width, output).encode_output(value) == text


@pytest.mark.parametrize("before", [0, 1, INTEGER_DIGITS - 1, INTEGER_DIGITS, INTEGER_DIGITS + 1, 20_000])
def test_an_integer_that_json_parsers_refuse_is_rejected(before: int) -> None:
    job_type = the_type(Width, Any)
    value: Any = ["x" * before, 10**INTEGER_DIGITS]
    with pytest.raises(ValueError, match="an integer has over 4,300 digits"):
        job_type.encode_output(value)
    with pytest.raises(ValueError, match="an integer has over 4,300 digits"):
        job_type.encode_output([*value[:1], -value[1], "y" * 10_000])


@pytest.mark.parametrize(
    "value", [10 ** (INTEGER_DIGITS - 1), -(10 ** (INTEGER_DIGITS - 1)), "7" * 20_000, [12] * 20_000]
)
def test_a_result_that_json_parsers_read_is_not(value: Any) -> None:
    assert json.loads(the_type(Width, Any).encode_output(value)) == value


def test_a_result_of_another_type_than_declared_is_rejected() -> None:
    with pytest.raises(ValidationError):
        the_type(Width, dict[str, int]).encode_output(["no"])


class Measured(BaseModel):
    value: float
    note: str | None = None


@pytest.mark.parametrize(
    ("output", "value"),
    [
        (float, math.nan),
        (Any, {"x": [1, {"y": math.inf}]}),
        (Any, (1.0, -math.inf)),
        (list[Measured], [Measured(value=1), Measured(value=math.nan)]),
        (Any, Measured(value=math.inf)),
        (Point, Point(1, math.nan)),
    ],
)
def test_a_result_with_nan_or_infinity_is_rejected(output: Any, value: Any) -> None:
    with pytest.raises(ValueError, match="JSON has no number like"):
        the_type(Width, output).encode_output(value)


def test_a_job_failed_holds_what_its_author_wrote() -> None:
    failure = JobFailed("No luck", detail="none", status=409, type="no-luck")
    assert (str(failure), failure.title, failure.detail, failure.status, failure.type) == (
        "No luck",
        "No luck",
        "none",
        409,
        "no-luck",
    )
