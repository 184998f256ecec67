"""Job types that a JSON file describes, with JSON Schemas of what goes in and out. Workers elsewhere do their jobs."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from jsonschema_rs import Draft202012Validator
from jsonschema_rs import ValidationError as SchemaError
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic.alias_generators import to_camel
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema, from_json

from ..errors import JobTypeError, SetupError
from .declaring import remember
from .job_types import JobType
from .remote import LEASE_S, remote_type
from .uploads import Upload

MOST_ERRORS = 1_001
"""Of one input: as many as are worth counting."""
HIDDEN = "the value"
"""What messages say in place of what the client sent, which may be a secret."""
FILE = {"type": "string", "format": "binary"}
"""What the schema of an upload has, as in OpenAPI."""

Schema = dict[str, Any]


class TypeFile(BaseModel):
    """What such a file holds: the parameters of `remote_job`, and two schemas."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)

    name: str
    title: str | None = None
    description: str = ""
    input: Schema = Field(default_factory=lambda: {"type": "object", "additionalProperties": False})
    output: Schema | bool = True
    lease_s: float = Field(LEASE_S, alias="leaseSeconds")
    max_attempts: int = 1
    timeout_s: float | None = Field(None, alias="timeoutSeconds")
    stall_timeout_s: float | None = Field(None, alias="stallTimeoutSeconds")
    on_interrupt: Literal["requeue", "fail"] = "requeue"
    max_recoveries: int | None = None
    concurrency: int | None = None
    max_queued: int | None = None
    retain_s: float | None = Field(None, alias="retainSeconds")
    max_output_mib: float | None = None
    webhook_url: str | None = None


def load_type_file(source: str) -> None:
    """Declare the job type that a file describes. Raises `SetupError` for one that does not."""
    path = Path(source)
    try:
        described = TypeFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SetupError(f"{source} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "/".join(map(str, first["loc"]))
        raise SetupError(f"{source}: {where}: {first['msg']}" if where else f"{source}: {first['msg']}") from error
    try:
        remember(_job_type(described, path))
    except JobTypeError as error:
        raise SetupError(f"{source}: {error}") from error


def _job_type(described: TypeFile, path: Path) -> JobType:
    name = described.name
    options = described.model_dump(exclude={"name", "input", "output"})
    return remote_type(
        name, _Declared(path), _input_model(name, described.input), _output(name, described.output), **options
    )


class _Declared:
    """What stands for the handler of a type that has none."""

    def __init__(self, path: Path) -> None:
        self.__module__ = str(path.resolve())
        self.__qualname__ = self.__name__ = path.stem

    def __call__(self) -> None:
        raise NotImplementedError("a worker does it")


def _validator(name: str, what: str, schema: Schema | bool) -> Draft202012Validator:
    def retrieve(uri: str) -> Any:
        raise ValueError(f"{uri} is not in the file, and nothing is fetched")

    try:
        return Draft202012Validator(schema, mask=HIDDEN, retriever=retrieve)
    except ValueError as error:
        message = error.message if isinstance(error, SchemaError) else str(error)
        raise JobTypeError(f"{name}: {what} is not a JSON Schema: {message}") from error


def _input_model(name: str, schema: Schema) -> type[BaseModel]:
    """A model whose input is validated by the schema. Its uploads are fields of the model, as for other types."""
    if schema.get("type") != "object":
        raise JobTypeError(f'{name}: input must be a schema with "type": "object"')
    validator = _validator(name, "input", schema)
    properties: Mapping[str, Any] = schema.get("properties", {})
    required = schema.get("required", ())
    uploads: dict[str, Any] = {
        field: (Upload, ...) if field in required else (Upload | None, None)
        for field, part in properties.items()
        if isinstance(part, dict) and FILE.items() <= part.items()
    }
    made: type[_Described] = create_model(name, __base__=_Described, **uploads)
    made.schema_of_input, made.validator = schema, validator
    return made


class _Described(BaseModel, extra="allow"):
    """The input of a type that a file describes."""

    schema_of_input: ClassVar[Schema] = {}
    validator: ClassVar[Draft202012Validator]

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        errors = list(islice(_errors(cls.validator, from_json(json_data)), MOST_ERRORS))
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return super().model_validate_json(json_data, **options)

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> Schema:
        return dict(cls.schema_of_input)


def _errors(validator: Draft202012Validator, value: Any) -> Iterator[InitErrorDetails]:
    for error in validator.iter_errors(value):
        told = PydanticCustomError("json_schema", "{message}", {"message": error.message})
        yield {"type": told, "loc": tuple(error.instance_path), "input": None}


def _output(name: str, schema: Schema | bool) -> TypeAdapter[Any]:
    """The adapter for results that fit the schema."""
    return TypeAdapter(Annotated[Any, _OfSchema(_validator(name, "output", schema), schema)])


class _OfSchema:
    """In an annotation: the value fits a JSON Schema."""

    def __init__(self, validator: Draft202012Validator, schema: Schema | bool) -> None:
        self._validator = validator
        self._schema = schema

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check, serialization=None)

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        return dict(self._schema) if isinstance(self._schema, dict) else {}

    def _check(self, value: Any) -> Any:
        error = next(self._validator.iter_errors(value), None)
        if error is not None:
            where = "".join(f"/{part}" for part in error.instance_path)
            raise PydanticCustomError("json_schema", "{message}", {"message": f"{where} {error.message}".strip()})
        return value
