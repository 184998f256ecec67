"""Submitting: by name and by function, with options and files; what is refused."""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from headway import Upload
from headway.authoring import declaring
from headway.client import (
    File,
    IdempotencyKeyReusedError,
    JobTypeUnavailableError,
    NotFoundError,
    TooLargeError,
    ValidationFailedError,
    inputs,
)
from pydantic import BaseModel

from tests.client.client_jobs import Document, Number, Resize, Resized, count_bytes, doubled, hello, resize, transcode
from tests.client.twins import Opening
from tests.support.process import ServerProcess


def test_a_function_s_job_returns_what_the_function_is_annotated_to_return(url: str, opening: Opening) -> None:
    client = opening(url)
    assert client.submit(resize, Resize(width=640, newName="sea")).result() == Resized(name="sea", size=(640, 320))
    assert client.submit(hello).result() == "hello"
    assert client.submit(doubled, Number(number=4)).result() == 8


def test_a_job_by_name_returns_json_or_the_model_that_is_asked_for(url: str, opening: Opening) -> None:
    client = opening(url)
    job = client.submit("resize", {"width": 640})
    assert job.result() == {"name": "picture", "size": [640, 320]}
    assert job.result(Resized) == Resized(name="picture", size=(640, 320))
    assert job.result_bytes() == b'{"name":"picture","size":[640,320]}'


def test_options_arrive(url: str, opening: Opening) -> None:
    run_at = datetime(2099, 1, 1, 12, tzinfo=UTC)
    job = opening(url).submit(
        "hello", label="night", priority=3, run_at=run_at, timeout_s=5, retain_s=9.5, metadata={"order": "4711"}
    )
    assert (job.label, job.state.run_at, job.metadata) == ("night", run_at, {"order": "4711"})
    job.cancel()


def test_options_arrive_with_files_too(url: str, opening: Opening) -> None:
    run_at = datetime(2099, 1, 1, 12, tzinfo=UTC)
    files = {"document": b"abc"}
    job = opening(url).submit("count-bytes", files=files, label="a & b", run_at=run_at, metadata={"order": "4711"})
    assert (job.label, job.state.run_at, job.metadata) == ("a & b", run_at, {"order": "4711"})
    job.cancel()


@pytest.mark.parametrize("kind", ["path", "bytes", "open file", "named", "field of the model"])
def test_a_file_is_sent_as_it_is_given(url: str, opening: Opening, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "letters.csv"
    path.write_bytes(b"abc")
    client = opening(url)
    with path.open("rb") as file:
        sources: dict[str, tuple[Any, list[Any]]] = {
            "path": (path, ["letters.csv", "text/csv", 6]),
            "bytes": (b"abcd", ["document", "application/octet-stream", 8]),
            "open file": (file, ["letters.csv", "text/csv", 6]),
            "named": (File(BytesIO(b"abcde"), "x.zip", "application/x-odd"), ["x.zip", "application/x-odd", 10]),
        }
        if kind in sources:
            source, expected = sources[kind]
            job = client.submit("count-bytes", {"copies": 2}, files={"document": source})
            assert job.result() == expected
            assert not file.closed
        else:
            document = Upload(path=path, filename="Grüße.txt", content_type="text/plain", size_bytes=0)
            typed = client.submit(count_bytes, Document(document=document, copies=2))
            assert typed.result() == ["Grüße.txt", "text/plain", 6]


class Odd(BaseModel):
    values: list[int]


@pytest.mark.parametrize(
    ("value", "error"), [(b"bytes", TypeError), (float("nan"), ValueError), (3 + 1j, TypeError)], ids=repr
)
def test_what_json_cannot_hold_is_not_sent(url: str, opening: Opening, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        opening(url).submit("resize", {"width": value})


def test_an_instant_without_a_time_zone_is_refused(url: str, opening: Opening) -> None:
    with pytest.raises(ValueError, match="time zone"):
        opening(url).submit("hello", run_at=datetime(2099, 1, 1))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize("key", ["Grüße", "a\nb", "x" * 256], ids=["umlaut", "line break", "long"])
def test_what_is_no_idempotency_key_is_refused(url: str, opening: Opening, key: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        opening(url).submit("hello", idempotency_key=key)


def test_the_same_idempotency_key_is_the_same_job(url: str, opening: Opening) -> None:
    client, key = opening(url), f'one "key" {uuid4()}'
    job = client.submit("hello", idempotency_key=key)
    assert client.submit("hello", idempotency_key=key).id == job.id
    with pytest.raises(IdempotencyKeyReusedError):
        client.submit("resize", {"width": 1}, idempotency_key=key)


def test_wrong_input_says_where_it_is_wrong(url: str, opening: Opening) -> None:
    with pytest.raises(ValidationFailedError) as refused:
        opening(url).submit("resize", {"width": "wide", "depth": 1})
    assert {pointer for pointer, _ in refused.value.errors} == {"/input/depth", "/input/width"}
    assert "/input/width" in str(refused.value)


def test_an_unknown_type_is_not_found(url: str, opening: Opening) -> None:
    with pytest.raises(NotFoundError):
        opening(url).submit("nothing-like-it")


def test_a_type_that_cannot_run_is_refused_at_once(url: str, opening: Opening) -> None:
    with pytest.raises(JobTypeUnavailableError, match="the moon is not full"):
        opening(url).submit("never-here")


def test_a_body_over_the_limit_is_refused(url: str, opening: Opening) -> None:
    with pytest.raises(TooLargeError):
        opening(url).submit("resize", {"width": 1, "newName": "x" * 2_000_000})


def test_a_function_without_a_type_is_refused(url: str, opening: Opening) -> None:
    with pytest.raises(TypeError, match="neither the name of a job type nor a function"):
        opening(url).submit(len)


def test_a_remote_job_s_function_names_its_type(url: str, opening: Opening) -> None:
    job = opening(url).submit(transcode, Number(number=1))
    assert job.type == "transcode"
    job.cancel()


def test_the_server_s_mark_is_the_one_that_the_client_reads(server: ServerProcess) -> None:
    assert declaring.MARK == inputs.MARK
