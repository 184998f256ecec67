"""`Upload`: a field of an input model that is filled by a file part of the submission."""

import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from ..errors import JobTypeError

UPLOADS = "headway_uploads"
UPLOADED = "uploaded"
INPUT_PART = "input"
"""The multipart part that holds the input's other fields as JSON."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with a submission, as the value of a field of the input model.

    `path` is in the job's own directory and exists as long as the job. `filename` is the client's name for it: text to
    show, never a path to open.
    """

    path: Path
    filename: str
    content_type: str
    size_bytes: int

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.json_or_python_schema(
            json_schema=core_schema.with_info_plain_validator_function(_uploaded),
            python_schema=core_schema.is_instance_schema(cls),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "format": "binary"}


def _uploaded(value: Any, info: core_schema.ValidationInfo[Any]) -> Upload:
    """The file uploaded for this field. Only the server supplies it: JSON cannot name a path on this machine."""
    uploads: dict[str, Upload] = (info.context or {}).get(UPLOADS, {})
    if value != UPLOADED or info.field_name not in uploads:
        raise ValueError("must be a file part")
    return uploads[info.field_name]


def upload_fields(name: str, input_type: type[BaseModel] | None) -> dict[str, bool]:
    """The model's `Upload` and `Upload | None` fields, and whether each must be given."""
    uploads: dict[str, bool] = {}
    for key, info in (input_type.model_fields if input_type else {}).items():
        is_union = typing.get_origin(info.annotation) in (typing.Union, types.UnionType)
        choices = set(typing.get_args(info.annotation)) if is_union else {info.annotation}
        if Upload in choices and key == INPUT_PART:
            raise JobTypeError(f"{name}: a file field cannot be called {key!r}: that part holds the other fields")
        if Upload in choices and choices <= {Upload, type(None)} and info.validation_alias in (None, key):
            uploads[key] = info.is_required()
        elif _mentions_upload(info.annotation, set()):
            raise JobTypeError(f"{name}: the field {key!r} must be `Upload` or `Upload | None`, without an alias")
    return uploads


def _mentions_upload(annotation: Any, seen: set[Any]) -> bool:
    """Whether there is an `Upload` anywhere inside: in a list, or in a nested model."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        return any(_mentions_upload(info.annotation, seen) for info in annotation.model_fields.values())
    return annotation is Upload or any(_mentions_upload(part, seen) for part in typing.get_args(annotation))
