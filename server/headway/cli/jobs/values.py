"""`key=value` arguments, read by the JSON Schema of a type's input (draft 2020-12, as pydantic writes it)."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
NULL = "null"
DEEPEST = 6
"""How far references and alternatives are followed: a schema may refer to itself."""


def read_values(arguments: Sequence[str], schema: Schema) -> dict[str, Any]:
    """The input that the arguments describe. Raises `ValueError` with a line for people.

    A list's key is repeated, or its value is JSON; a dot leads into an object: `size.width=640`.
    """
    values: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not key:
            raise ValueError(f"{argument!r} is not key=value")
        _put(values, key, text, _Schemas(schema))
    return values


def known_keys(schema: Schema) -> list[str]:
    """The names of the input's fields."""
    return list(_Schemas(schema).properties(schema))


class _Schemas:
    """A schema with its `$defs`."""

    def __init__(self, root: Schema) -> None:
        self.root = root

    def resolved(self, schema: Any) -> Schema:
        """What a reference within the document refers to."""
        for _ in range(DEEPEST):
            if not isinstance(schema, Mapping) or not isinstance(reference := schema.get("$ref"), str):
                break
            schema = self.root
            for part in filter(None, reference.removeprefix("#").split("/")):
                schema = schema.get(part, {}) if isinstance(schema, Mapping) else {}
        return schema if isinstance(schema, Mapping) else {}

    def properties(self, schema: Any) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for choice in self.choices(schema):
            found |= choice.get("properties") or {}
        return found

    def choices(self, schema: Any, deepest: int = DEEPEST) -> list[Schema]:
        """The schema, and what it is any or all of."""
        schema = self.resolved(schema)
        parts = [part for word in ("anyOf", "oneOf", "allOf") for part in schema.get(word) or ()] if deepest else []
        return [schema, *(choice for part in parts for choice in self.choices(part, deepest - 1))]

    def kinds(self, schema: Any) -> set[str]:
        """The JSON types that a value may have; empty if the schema does not say."""
        kinds: set[str] = set()
        for choice in self.choices(schema):
            given = choice.get("type")
            kinds |= {given} if isinstance(given, str) else set(given or ())
            kinds |= {_kind(value) for value in [*(choice.get("enum") or ()), *_constant(choice)]}
        return kinds


def _constant(schema: Schema) -> list[Any]:
    return [schema["const"]] if "const" in schema else []


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _put(values: dict[str, Any], key: str, text: str, schemas: _Schemas) -> None:
    """Add one argument to the input."""
    schema: Any = schemas.root
    *path, last = [key] if key in schemas.properties(schema) else key.split(".")
    place = values
    for name in path:
        schema = _field(schema, name, schemas)
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise ValueError(f"{key}: {name} has a value already")  # noqa: TRY004 - the arguments are wrong
    schema = _field(schema, last, schemas)
    if "array" in schemas.kinds(schema) and not text.startswith("["):
        items = [part["items"] for part in schemas.choices(schema) if "items" in part]
        added = place.setdefault(last, [])
        if not isinstance(added, list):
            raise ValueError(f"{key}: {last} has a value already")
        added.append(_read(key, text, items[0] if items else {}, schemas))
    elif last in place:
        raise ValueError(f"{key} is given twice")
    else:
        place[last] = _read(key, text, schema, schemas)


def _field(schema: Any, name: str, schemas: _Schemas) -> Any:
    """The schema of a field. Raises `ValueError` if there is none of this name, and no others are allowed."""
    properties = schemas.properties(schema)
    if name in properties:
        return properties[name]
    others = [choice["additionalProperties"] for choice in schemas.choices(schema) if "additionalProperties" in choice]
    if others and others[0] is False:
        near = difflib.get_close_matches(name, properties, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(properties) or 'none'}"
        raise ValueError(f"the input has no field {name!r}: {hint}")
    return others[0] if others else {}


def _read(key: str, text: str, schema: Any, schemas: _Schemas) -> Any:
    """The value that a text stands for: the narrowest of the kinds that are allowed. Raises `ValueError`."""
    kinds = schemas.kinds(schema)
    if not kinds:
        return _json_or_text(text)
    if "null" in kinds and (text == NULL or (text == "" and "string" not in kinds)):
        return None
    value: Any = _number(text, whole="number" not in kinds) if kinds & {"integer", "number"} else None
    if value is None and "boolean" in kinds:
        value = BOOLEANS.get(text.lower())
    if value is None and kinds & {"object", "array"} and text[:1] in ("{", "["):
        value = _parsed(key, text)
    if value is None and "string" not in kinds:
        raise ValueError(f"{key}: {text!r} is not {_spoken(kinds)}")
    return text if value is None else value


def _number(text: str, *, whole: bool) -> int | float | None:
    """The number of a text, `None` if it is none. A fraction is none where it must be whole."""
    try:
        return int(text) if text.isascii() else None
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) != float("inf") and number == number and not whole else None  # noqa: PLR0124 - NaN


def _parsed(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _spoken(kinds: set[str]) -> str:
    words = {
        "boolean": "true or false",
        "integer": "a whole number",
        "number": "a number",
        "array": "a JSON array",
        "object": "a JSON object",
        "null": "null",
    }
    return " or ".join(words[kind] for kind in words if kind in kinds)
