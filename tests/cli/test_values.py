"""`key=value` arguments, read by a schema."""

import re
from typing import Any, Literal

import pytest
from headway.cli.jobs.values import read_values
from pydantic import BaseModel, Field


class Size(BaseModel):
    width: int
    height: int | None = None


class Input(BaseModel):
    text: str = ""
    maybe_text: str | None = None
    number: float = 0
    whole: int = 0
    maybe_whole: int | None = None
    flag: bool = False
    flag_or_whole: bool | int = False
    tags: list[str] = []
    counts: list[int] | None = None
    size: Size | None = None
    sizes: list[Size] = []
    extra: dict[str, int] = Field(default_factory=dict)
    anything: Any = None
    level: Literal[1, 2, 3] = 1
    dotted: str = Field("", alias="with.dot")

    model_config = {"extra": "forbid"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["text=7"], {"text": "7"}),
        (["text="], {"text": ""}),
        (["text=a=b"], {"text": "a=b"}),
        (["text=null"], {"text": "null"}),
        (["text=[1]"], {"text": "[1]"}),
        (["maybe_text=null"], {"maybe_text": None}),
        (["maybe_text="], {"maybe_text": ""}),
        (["number=2.5"], {"number": 2.5}),
        (["number=3"], {"number": 3}),
        (["number=1e3"], {"number": 1000.0}),
        (["whole=-4"], {"whole": -4}),
        (["maybe_whole="], {"maybe_whole": None}),
        (["flag=yes"], {"flag": True}),
        (["flag=0"], {"flag": False}),
        (["flag_or_whole=1"], {"flag_or_whole": 1}),
        (["flag_or_whole=true"], {"flag_or_whole": True}),
        (["tags=a", "tags=b,c"], {"tags": ["a", "b,c"]}),
        (['tags=["a", "b"]'], {"tags": ["a", "b"]}),
        (["counts=1", "counts=2"], {"counts": [1, 2]}),
        (["size.width=640", "size.height=null"], {"size": {"width": 640, "height": None}}),
        (['size={"width": 640}'], {"size": {"width": 640}}),
        (['sizes={"width": 1}', 'sizes={"width": 2}'], {"sizes": [{"width": 1}, {"width": 2}]}),
        (["extra.one=1"], {"extra": {"one": 1}}),
        (["anything=7"], {"anything": 7}),
        (["anything=seven"], {"anything": "seven"}),
        (["level=2"], {"level": 2}),
        (["with.dot=x"], {"with.dot": "x"}),
    ],
)
def test_a_value_is_read_by_the_schema(arguments: list[str], expected: dict[str, Any]) -> None:
    assert read_values(arguments, Input.model_json_schema()) == expected
    Input.model_validate(expected)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["text"], "'text' is not key=value"),
        (["=x"], "'=x' is not key=value"),
        (["txt=x"], "the input has no field 'txt': did you mean 'text'?"),
        (["zzz=x"], "there are text, maybe_text"),
        (["whole=2.5"], "whole: '2.5' is not a whole number"),
        (["whole=x"], "whole: 'x' is not a whole number"),
        (["number=nan"], "number: 'nan' is not a number"),
        (["flag=maybe"], "flag: 'maybe' is not true or false"),
        (["counts=x"], "counts: 'x' is not a whole number"),
        (["size=big"], "size: 'big' is not a JSON object or null"),
        (["size={"], "size: Expecting"),
        (["size.depth=1"], "the input has no field 'depth'"),
        (["text=a", "text=b"], "text is given twice"),
        (['tags=["a"]', "tags.x=1"], "tags has a value already"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_does(arguments: list[str], said: str) -> None:
    schema = Input.model_json_schema()
    schema["$defs"]["Size"]["additionalProperties"] = False
    with pytest.raises(ValueError, match=re.escape(said)):
        read_values(arguments, schema)


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {"properties": {"x": {"$ref": "#/properties/x"}, "y": {"anyOf": [{"$ref": "#/properties/y"}]}}}
    assert read_values(["x=1", "y=a"], schema) == {"x": 1, "y": "a"}
