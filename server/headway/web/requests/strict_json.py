"""Strict JSON: what a body may contain, and where in it an error is."""

import json
import re
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from typing import Any, NamedTuple

from ...validation import pointer_token
from ..problems import Problem

MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1
MAX_EXACT_FLOAT = 2**53
_ESCAPE = re.compile(
    rb"""\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}  # a pair
        |(u[dD][89a-fA-F][0-9a-fA-F]{2})  # half of one
        |.)""",
    re.DOTALL | re.VERBOSE,
)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_SHORT = 19
"""An integer with fewer characters is below 10^18."""


@dataclass(frozen=True, slots=True, eq=False)
class _Odd:
    """Stands for a part of a JSON text that is well-formed, but cannot be represented."""

    why: str


def without_halves(body: bytes) -> bytes:
    """A JSON text with U+FFFD for each half of a surrogate pair, as whatever stands alone in UTF-8 is replaced.

    For texts that are cleaned further on: JavaScript cuts them between the halves, and sends what is left.
    """
    if _HALF.search(body) is None:  # nearly always
        return body
    return _ESCAPE.sub(lambda found: found[0] if found[1] is None else rb"\ufffd", body)


def parse_json(body: bytes, prefix: str = "", *, max_depth: int = MAX_DEPTH) -> Any:
    """Strict JSON (RFC 8259, with RFC 7493's limits): well-formed or 400, within bounds or 422.

    `prefix` is where the value stands in the JSON pointers of errors.
    """
    try:
        text = body.decode("utf-8")
        try:
            value = _COMMON.decode(text)
        except _UncommonError:
            value = _DECODER.decode(text)  # to find out where it is
        else:
            if "\\u" not in text and text.count("{") + text.count("[") <= max_depth:
                return value  # it has no surrogate, and cannot be too deep
    except UnicodeDecodeError:
        raise Problem("malformed-request", "The body is not UTF-8.") from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem("malformed-request", f"The body is not JSON: {error.msg} ({where}).") from None
    _check_bounds(value, max_depth, prefix)
    return value


class Part(NamedTuple):
    """A value inside a JSON text, and where it ends. With a `problem`, it is out of bounds."""

    value: Any
    end: int
    problem: Problem | None = None


def part_at(text: str, start: int) -> Part:
    """The value that begins at `start`: strict, as for `parse_json`. What follows it is not read.

    Raises `JSONDecodeError` if the text is not JSON up to the value's end, and `Problem` if it is nested far too deep.
    """
    try:
        try:
            value, end = _COMMON.raw_decode(text, start)
        except _UncommonError:
            value, end = _DECODER.raw_decode(text, start)
        else:
            if text.find("\\u", start, end) < 0 and _brackets(text, start, end) <= MAX_DEPTH:
                return Part(value, end)
    except RecursionError:
        raise _too_deep(MAX_DEPTH) from None
    try:
        _check_bounds(value, MAX_DEPTH, "")
    except Problem as problem:
        return Part(value, end, problem)
    return Part(value, end)


def _brackets(text: str, start: int, end: int) -> int:
    return text.count("{", start, end) + text.count("[", start, end)


class _UncommonError(Exception):
    """A part of a JSON text may be one that cannot be represented."""


def _common_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _UncommonError
    return made


def _common_integer(text: str) -> int:
    if len(text) >= _SHORT:
        raise _UncommonError
    return int(text)


def _common_number(text: str) -> int | float:
    value = _number(text)
    if not isfinite(value):
        raise _UncommonError
    return value


def _uncommon(_text: str) -> None:
    raise _UncommonError


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Odd:
    made = dict(pairs)
    return made if len(made) == len(pairs) else _Odd("has the same name twice")


def _integer(text: str) -> int | _Odd:
    if len(text) < _SHORT:
        return int(text)
    # The length first: converting a million digits takes seconds (CVE-2020-10735).
    if len(text) > 20 or not -MAX_INTEGER - 1 <= int(text) <= MAX_INTEGER:  # noqa: PLR2004 - a sign and 19 digits
        return _Odd("is an integer beyond 64 bits")
    return int(text)


def _number(text: str) -> int | float:
    """A number with a fraction or an exponent: `5.0` is an integer to JSON Schema (2020-12, 4.2.3)."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) <= MAX_EXACT_FLOAT else value


_COMMON = json.JSONDecoder(
    object_pairs_hook=_common_object,
    parse_int=_common_integer,
    parse_float=_common_number,
    parse_constant=_uncommon,
)
"""Decodes nearly all texts, and checks their values at once."""
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_Odd)


def _too_deep(max_depth: int) -> Problem:
    return Problem("malformed-request", f"The body is nested deeper than {max_depth} levels.")


def _check_bounds(value: Any, max_depth: int, prefix: str) -> None:
    """Check depth, lone surrogates and values out of range, such as 1e999. Level by level, without recursion.

    A level is looked at by the types in it, since a megabyte may hold half a million values.
    """
    level, depth, odd = [value], 0, None
    while level:
        depth += 1
        types = set(map(type, level))
        if depth > max_depth and not types.isdisjoint((dict, list)):
            raise _too_deep(max_depth)
        if str in types:
            _check_texts([item for item in level if type(item) is str])
        if odd is None and (_Odd in types or float in types):
            odd = next((item for item in level if _is_odd(item)), None)
        deeper: list[Any] = []
        if list in types:
            deeper.extend(chain.from_iterable([item for item in level if type(item) is list]))
        if dict in types:
            objects = [item for item in level if type(item) is dict]
            deeper.extend(chain.from_iterable(map(dict.values, objects)))
            deeper.extend(chain.from_iterable(objects))
        level = deeper
    if odd is not None:
        raise _refused(value, odd, prefix)


def _is_odd(item: Any) -> bool:
    kind = type(item)
    return kind is _Odd or (kind is float and not isfinite(item))


def _refused(value: Any, odd: _Odd | float, prefix: str) -> Problem:
    why = "is a number beyond the range of a double" if isinstance(odd, float) else odd.why
    if why in ("NaN", "Infinity", "-Infinity"):
        why = f"is {why}, which is not a JSON number"
    return Problem("validation-failed", errors=[(_pointer_to(odd, value, prefix), why)])


def _pointer_to(sought: Any, value: Any, prefix: str) -> str:
    """The JSON pointer (RFC 6901) of a part of `value`."""
    left = [(prefix, value)]
    while left:
        pointer, item = left.pop()
        if item is sought:
            return pointer
        if isinstance(item, dict):
            left += [(f"{pointer}/{pointer_token(name)}", part) for name, part in item.items()]
        elif isinstance(item, list):
            left += [(f"{pointer}/{place}", part) for place, part in enumerate(item)]
    return prefix


def _check_texts(texts: list[str]) -> None:
    try:
        "".join(texts).encode("utf-8")
    except UnicodeEncodeError:
        raise Problem("malformed-request", "A string has half a surrogate pair.") from None
