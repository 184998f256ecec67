"""Job types that JSON files describe: what they may say, what their schemas let through, what is wrong with a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from headway.authoring import declaring
from headway.authoring.job_types import JobType
from headway.authoring.loading import load_job_types
from headway.authoring.uploads import Upload
from headway.errors import SetupError
from pydantic import ValidationError

from tests.support.process import ROOT

FILE = ROOT / "tests" / "job_types" / "make-thumbnail.json"
PICTURE = {"picture": Upload(Path("a.png"), "a.png", "image/png", 3)}


@pytest.fixture(autouse=True)
def _nothing_stays_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declaring, "_declared", {})


@pytest.fixture
def thumbnail() -> JobType:
    (job_type,) = load_job_types([str(FILE)])
    return job_type


def described(folder: Path, **fields: Any) -> str:
    """The path of a file that says this."""
    path = folder / "made.json"
    path.write_text(json.dumps({"name": "made", **fields}))
    return str(path)


def pointers(job_type: JobType, input: Any, uploads: Any = PICTURE) -> list[tuple[Any, ...]]:
    with pytest.raises(ValidationError) as raised:
        job_type.parse_input(json.dumps(input), uploads)
    return [error["loc"] for error in raised.value.errors()]


def test_a_file_is_a_job_type_with_its_schemas_and_limits(thumbnail: JobType) -> None:
    assert (thumbnail.name, thumbnail.title, thumbnail.is_remote) == ("make-thumbnail", "Make a thumbnail", True)
    assert (thumbnail.lease_s, thumbnail.max_attempts, thumbnail.uploads) == (2, 2, {"picture": True})
    said = json.loads(FILE.read_text())
    assert (thumbnail.input_schema, thumbnail.output_schema) == (said["input"], said["output"])
    assert thumbnail.place == str(FILE)
    assert thumbnail.only_upload is None


def test_what_fits_the_schema_is_an_input(thumbnail: JobType) -> None:
    parsed: Any = thumbnail.parse_input('{"width": 200, "crop": [1, 2]}', PICTURE)
    assert (parsed.picture, parsed.width) == (PICTURE["picture"], 200)


def test_each_error_of_an_input_has_its_place_and_not_its_value(thumbnail: JobType) -> None:
    assert pointers(thumbnail, {"width": 0, "crop": [1, "secret"]}) == [("width",), ("crop", 1)]
    assert pointers(thumbnail, {"width": 5, "height": 5}) == [()]
    assert pointers(thumbnail, {"width": 5}, {}) == [()]
    with pytest.raises(ValidationError) as raised:
        thumbnail.parse_input('{"width": "secret"}', PICTURE)
    assert "secret" not in str(raised.value)


def test_a_file_cannot_be_sent_as_a_value(thumbnail: JobType) -> None:
    assert pointers(thumbnail, {"width": 5, "picture": "/etc/passwd"}, {}) == [("picture",)]


def test_a_result_fits_its_schema_or_is_refused(thumbnail: JobType) -> None:
    assert thumbnail.encode_output({"width": 1, "height": 2}) == '{"width":1,"height":2}'
    with pytest.raises(ValidationError, match="/height"):
        thumbnail.encode_output({"width": 1, "height": "high"})


def test_without_schemas_there_is_no_input_and_any_result(tmp_path: Path) -> None:
    (job_type,) = load_job_types([described(tmp_path)])
    job_type.parse_input("{}", {})
    assert pointers(job_type, {"anything": 1}, {}) == [()]
    assert job_type.encode_output([None, {"a": 1}]) == '[null,{"a":1}]'


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "No Name"}, "cannot be the name"),
        ({"speed": 3}, "speed: Extra inputs"),
        ({"leaseSeconds": 0}, "lease_s must be"),
        ({"maxAttempts": "3"}, "maxAttempts: Input should be a valid integer"),
        ({"input": {"type": "string"}}, "must be a schema with"),
        ({"input": {"type": "object", "properties": {"a": {"type": "text"}}}}, "input is not a JSON Schema"),
        (
            {"input": {"type": "object", "properties": {"a": {"$ref": "http://[::1]/a"}}}},
            "nothing is fetched",
        ),
        ({"output": {"minimum": "low"}}, "output is not a JSON Schema"),
    ],
)
def test_a_file_that_cannot_work_stops_the_start_with_one_line(fields: Any, words: str, tmp_path: Path) -> None:
    path = described(tmp_path, **fields)
    with pytest.raises(SetupError, match=words) as raised:
        load_job_types([path])
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_or_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file"):
        load_job_types([str(tmp_path / "none.json")])
    (tmp_path / "odd.json").write_text("{")
    with pytest.raises(SetupError, match=r"odd\.json: Invalid JSON"):
        load_job_types([str(tmp_path / "odd.json")])
