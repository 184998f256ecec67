"""Calling a handler ends the same way for both kinds of handler, whatever it returns or raises."""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import pytest
from headway import BlockingContext, Context, JobCancelled, JobFailed, Upload, job
from headway.authoring.declaring import declared
from headway.authoring.job_types import JobType
from headway.authoring.reporting import LogBuffer, Reported
from headway.domain.jobs import JobError
from headway.limits import ERROR_DETAIL_CHARS, ERROR_TITLE_CHARS, ERROR_TYPE_CHARS
from headway.ports.files import Directories
from headway.running import calling
from headway.running.calling import End, Raised, Returned, Stopped, call_async, call_blocking
from headway.running.dependencies import Dependencies
from headway.running.processes.child.dependencies import Dependencies as ChildsDependencies
from headway.running.subprocesses import Subprocesses
from pydantic import BaseModel, PlainSerializer

NO_DIRECTORIES = Directories("/nowhere/work", "/nowhere/output", "/nowhere/data")


class Width(BaseModel):
    width: int


class Box(BaseModel):
    ratio: float


@dataclass
class Crate:
    boxes: list[Box]


class Document(BaseModel):
    document: Upload


def broken_serializer(_value: Any) -> str:
    raise RuntimeError("the serializer is broken")


Unserializable = Annotated[int, PlainSerializer(broken_serializer)]


async def no_checkpoint(_text: str) -> None:
    raise AssertionError


def no_blocking_checkpoint(_text: str) -> None:
    raise AssertionError


Body = Callable[[Any, Any], Any]
"""What a handler does, of either kind."""


class Kind:
    """Declares a handler of one kind with a given body, and calls it."""

    def __init__(self, *, is_async: bool) -> None:
        self.is_async = is_async
        self.began = 0

    def declare(self, body: Body, output: Any = Any, model: type[BaseModel] = Width, **limits: Any) -> JobType:
        def blocking(ctx: BlockingContext, input: Any) -> Any:
            return body(ctx, input)

        async def waiting(ctx: Context, input: Any) -> Any:
            await asyncio.sleep(0)
            return body(ctx, input)

        handler = waiting if self.is_async else blocking
        handler.__annotations__ |= {"input": model, "return": output}
        job("called", **limits)(handler)
        return declared("called")

    async def call(self, job_type: JobType, input_json: str = '{"width":7}', **uploads: Upload) -> End:
        common: dict[str, Any] = {
            "job_id": "j",
            "attempt": 1,
            "owner": "local",
            "directories": NO_DIRECTORIES,
            "reported": Reported(),
            "logs": LogBuffer(),
            "checkpoint_json": None,
        }
        if self.is_async:
            waiting = Context(async_checkpoint=no_checkpoint, start_process=Subprocesses().start, **common)
            return await call_async(job_type, waiting, input_json, uploads, Dependencies().get)
        context = BlockingContext(sync_checkpoint=no_blocking_checkpoint, **common)
        return call_blocking(job_type, context, input_json, uploads, self._begin, ChildsDependencies().get)

    def _begin(self) -> None:
        self.began += 1


@pytest.fixture(params=["async", "blocking"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(is_async=request.param == "async")


def raising(error: BaseException) -> Body:
    def body(ctx: Any, input: Any) -> Any:
        raise error

    return body


def returning(value: Any) -> Body:
    def body(ctx: Any, input: Any) -> Any:
        return value

    return body


async def test_a_result_comes_back_as_json(kind: Kind) -> None:
    def body(ctx: Any, input: Width) -> dict[str, int]:
        return {"w": input.width}

    assert await kind.call(kind.declare(body)) == Returned('{"w":7}')
    assert kind.began == (0 if kind.is_async else 1)


async def test_the_results_url_comes_with_it(kind: Kind) -> None:
    def sets_url(ctx: Any, input: Any) -> None:
        ctx.result_url = "/reports/7"

    assert await kind.call(kind.declare(sets_url)) == Returned("null", "/reports/7")


async def test_an_upload_is_handed_over(kind: Kind) -> None:
    upload = Upload(Path("/nowhere/x.pdf"), "x.pdf", "application/pdf", 5)

    def body(ctx: Any, input: Document) -> str:
        return input.document.filename

    job_type = kind.declare(body, model=Document)
    assert await kind.call(job_type, "{}", document=upload) == Returned('"x.pdf"')


async def test_an_input_that_fits_no_more_is_invalid_input(kind: Kind) -> None:
    end = await kind.call(kind.declare(returning(1)), '{"width":"wide"}')
    assert isinstance(end, Raised)
    assert (end.error.type, end.error.status, end.final) == ("invalid-input", 422, True)
    assert end.error.detail is not None
    assert end.error.detail.startswith("width: ")
    assert kind.began == 0


@pytest.mark.parametrize(
    ("output", "value", "detail"),
    [
        (dict[str, int], ["no"], "valid dictionary"),
        (Unserializable, 1, "the serializer is broken"),
        (Any, object(), "Unable to serialize unknown type"),
        (Any, "\ud800", "surrogates not allowed"),
        (float, math.nan, "JSON has no number like nan"),
        (Any, {"deep": [math.inf]}, "JSON has no number like inf"),
        (Box, Box(ratio=math.nan), "JSON has no number like nan"),
        (Any, (Box(ratio=math.nan),), "JSON has no number like nan"),
        (Crate, Crate([Box(ratio=-math.inf)]), "JSON has no number like -inf"),
    ],
)
async def test_a_result_that_cannot_be_json_is_invalid_output(kind: Kind, output: Any, value: Any, detail: str) -> None:
    end = await kind.call(kind.declare(returning(value), output))
    assert isinstance(end, Raised)
    assert (end.error.type, end.error.status, end.final, end.traceback) == ("invalid-output", 500, True, None)
    assert detail in (end.error.detail or "")


def generating(*parts: float | None, within: bool = False) -> Body:
    def body(ctx: Any, input: Any) -> Any:
        return {"rows": iter(parts)} if within else iter(parts)

    return body


@pytest.mark.parametrize("output", [Any, Iterable[float | None], list[float | None]])
async def test_a_generator_is_a_result_like_a_list(kind: Kind, output: Any) -> None:
    assert await kind.call(kind.declare(generating(1.5, None), output)) == Returned("[1.5,null]")
    end = await kind.call(kind.declare(generating(1.5, math.nan), output))
    assert isinstance(end, Raised)
    assert (end.error.type, end.error.detail) == ("invalid-output", "ValueError: JSON has no number like nan")


async def test_a_generator_in_a_dictionary_is_a_result_too(kind: Kind) -> None:
    assert await kind.call(kind.declare(generating(None, within=True))) == Returned('{"rows":[null]}')
    end = await kind.call(kind.declare(generating(math.inf, within=True)))
    assert isinstance(end, Raised)
    assert end.error.type == "invalid-output"


@pytest.mark.parametrize(("text", "fits"), [("x" * 98, True), ("x" * 99, False), ("ä" * 49, True), ("ä" * 50, False)])
async def test_a_result_over_the_limit_is_invalid_output(
    kind: Kind, text: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "RESULT_BYTES", 100)
    end = await kind.call(kind.declare(returning(text)))
    if fits:
        assert end == Returned(f'"{text}"')
    else:
        assert isinstance(end, Raised)
        assert (end.error.type, end.error.title) == ("invalid-output", "The result is too large")


async def test_a_job_failed_says_what_clients_see(kind: Kind) -> None:
    failure = JobFailed("No pictures", detail="The archive is empty.", status=409, type="no-pictures")
    end = await kind.call(kind.declare(raising(failure)))
    assert end == Raised(
        JobError("no-pictures", "No pictures", "The archive is empty.", 409), final=True, exception=failure
    )


async def test_a_job_failed_may_be_given_an_exception_for_a_title(kind: Kind) -> None:
    end = await kind.call(kind.declare(raising(JobFailed(ValueError("bad"), detail=KeyError("x")))))  # type: ignore[arg-type]
    assert isinstance(end, Raised)
    assert (end.error.title, end.error.detail) == ("bad", "'x'")


class MuteError(Exception):
    def __str__(self) -> str:
        raise SystemExit


async def test_the_texts_of_a_job_failed_are_cleaned_and_cut(kind: Kind) -> None:
    failure = JobFailed("a\ud800\n" + "t" * 10_000_000, detail="\x1b[31md\ud800\ne" * 1_000_000, type="\0" * 200)
    end = await kind.call(kind.declare(raising(failure)))
    assert isinstance(end, Raised)
    assert end.error.title.startswith("a� ttt")
    assert end.error.title.endswith("t… (cut from 10,000,003 characters)")
    assert (end.error.detail or "").startswith("d�\ned�\ne")
    assert (end.error.detail or "").endswith("… (cut from 9,000,000 characters)")
    assert end.error.type.startswith("�")
    assert len(end.error.title) == ERROR_TITLE_CHARS
    assert len(end.error.detail or "") <= ERROR_DETAIL_CHARS
    assert len(end.error.type) == ERROR_TYPE_CHARS


async def test_texts_that_cannot_be_read_do_not_hide_that_the_job_failed(kind: Kind) -> None:
    end = await kind.call(kind.declare(raising(JobFailed(MuteError(), detail=MuteError(), type=""))))  # type: ignore[arg-type]
    assert isinstance(end, Raised)
    assert end.error == JobError("job-failed", "The job failed", "", 422)


@pytest.mark.parametrize("status", [200, 302, 399, 600, True, "422", None])
async def test_a_status_of_success_is_no_failure(kind: Kind, status: Any) -> None:
    with pytest.raises(ValueError, match="status must be an HTTP status from 400 to 599"):
        JobFailed("x", status=status)
    failure = JobFailed("x", status=HTTPStatus.CONFLICT)
    failure.status = status
    end = await kind.call(kind.declare(raising(failure)))
    assert isinstance(end, Raised)
    assert (end.error.title, end.error.status) == ("x", 500)


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit("broken"), KeyboardInterrupt("broken")])
async def test_any_other_exception_is_a_handler_error(kind: Kind, error: BaseException) -> None:
    end = await kind.call(kind.declare(raising(error)))
    assert isinstance(end, Raised)
    assert end.error == JobError(
        "handler-error", "The job's handler raised an error", f"{type(error).__name__}: broken", 500
    )
    assert (end.final, end.exception) == (False, error)
    assert "in body" in (end.traceback or "")


class UnreadableFailure(JobFailed):
    @property
    def title(self) -> str:
        raise SystemExit

    @title.setter
    def title(self, title: str) -> None: ...


async def test_an_exception_that_cannot_be_read_is_a_handler_error(kind: Kind) -> None:
    end = await kind.call(kind.declare(raising(UnreadableFailure("x")), no_retry=(LookupError,)))
    assert isinstance(end, Raised)
    assert (end.error.type, end.error.detail) == ("handler-error", "UnreadableFailure: x")
    assert not end.final


async def test_a_type_names_exceptions_that_no_retry_would_mend(kind: Kind) -> None:
    end = await kind.call(kind.declare(raising(KeyError("gone")), no_retry=(LookupError,)))
    assert isinstance(end, Raised)
    assert end.final


async def test_a_handler_that_is_interrupted_has_stopped(kind: Kind) -> None:
    assert await kind.call(kind.declare(raising(JobCancelled()))) == Stopped()


async def test_an_async_handler_that_is_cancelled_has_stopped() -> None:
    kind = Kind(is_async=True)
    task = asyncio.create_task(kind.call(kind.declare(returning(1))))
    await asyncio.sleep(0)
    task.cancel()
    assert await task == Stopped()


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


async def test_an_exception_without_a_text_is_named_by_its_class(kind: Kind) -> None:
    end = await kind.call(kind.declare(raising(UnprintableError())))
    assert isinstance(end, Raised)
    assert end.error.detail == "UnprintableError"
